"""The workflows of GitHub Actions, step by step, from the pull request to the store."""

from __future__ import annotations

import json
import shutil

import pytest
from azure.appconfiguration import AzureAppConfigurationClient

from tests.ci.conftest import Project
from tests.ci.jobs import JobResult, Machines, pull_request

pytestmark = pytest.mark.system  # installs kvsync in an environment of its own for every job

needs_gh = pytest.mark.skipif(
    shutil.which("gh") is None, reason="needs gh, the command line of GitHub (apt install gh)"
)


def plan(machines: Machines, project: Project, commit: str) -> JobResult:
    """The job that plans a pull request."""
    return machines.github("kvsync-plan", "plan", machines.checkout(project.root, commit), pull_request())


def apply(machines: Machines, project: Project, commit: str, approve: str = "") -> JobResult:
    """The job that applies what is on main."""
    place = machines.checkout(project.root, commit)
    return machines.github("kvsync-apply", "apply", place, {"inputs.approve": approve})


def merged(machines: Machines, project: Project) -> None:
    """Bring the store to what main says now."""
    assert plan(machines, project, "main").code == 0
    assert apply(machines, project, "main").code == 0


def test_what_was_reviewed_is_what_is_applied(machines: Machines, project: Project) -> None:
    """A merge applies the plan of its pull request, sensitive entries too, also as another commit with the same files; doing it
    again does nothing."""
    merged(machines, project)
    changed = project.replaced("greeting: Hello", "greeting: Good morning")
    assert plan(machines, project, changed).code == 0
    done = apply(machines, project, project.squash())
    assert done.code == 0, done.text
    assert "1 applied" in done.text
    again = apply(machines, project, "main")
    assert again.code == 0, again.text
    assert "applied" not in again.text


def test_a_merge_without_a_plan_applies_nothing(machines: Machines, project: Project) -> None:
    """Where main has moved on since the plan, so that nobody planned these files, it ends with 4."""
    assert plan(machines, project, "main").code == 0
    done = apply(machines, project, project.replaced("Hello", "Good morning"))
    assert done.code == 4
    assert "no plan was made for the files as they are on main now" in done.text


def test_a_stale_plan_applies_nothing(machines: Machines, project: Project) -> None:
    """Where the store has moved on since the plan it ends with 4, names what differs, and a plan of main goes on."""
    merged(machines, project)
    changed = project.replaced("timeout: 30", "timeout: 31")
    assert plan(machines, project, changed).code == 0
    earlier = machines.code_host.artifacts[-1]
    project.replaced("timeout: 31", "timeout: 32")
    merged(machines, project)  # someone else's change came first
    machines.code_host.artifacts.append(earlier | {"created_at": "2026-01-02"})
    done = apply(machines, project, changed)
    assert done.code == 4
    assert "settings/web: timeout: it changed in the store after the plan was saved" in done.text
    assert "applied\n" not in done.text
    machines.github("kvsync-plan", "plan", machines.checkout(project.root, changed))
    machines.code_host.artifacts[-1]["created_at"] = "2026-01-03"
    assert apply(machines, project, changed).code == 0


@pytest.mark.parametrize("how", ["left out", "altered", "not a plan"])
def test_a_tampered_plan_is_refused(machines: Machines, project: Project, how: str) -> None:
    """A plan file from which someone took a change, in which they altered one, or which is none, applies nothing."""
    assert plan(machines, project, "main").code == 0
    kept = machines.code_host.artifacts[-1]
    document = json.loads(kept["content"])
    if how == "left out":
        del document["targets"][0]["changes"][0]
    elif how == "altered":
        document["targets"][0]["changes"][0]["after"]["fingerprint"] = "00" * 16
    else:
        document = {}
    kept["content"] = json.dumps(document).encode()
    done = apply(machines, project, "main")
    assert done.code == (78 if how == "not a plan" else 4)
    assert entries(machines) == []


def test_a_parked_plan_waits_for_its_hash(machines: Machines, project: Project) -> None:
    """A plan that the guard holds is shown, is not applied by the merge, and is applied with its hash."""
    merged(machines, project)
    emptied = project.write("store: settings\nnamespace: web\nkeys: {}\n")
    assert plan(machines, project, emptied).code == 0
    (target,) = json.loads(machines.code_host.artifacts[-1]["content"])["targets"]
    assert apply(machines, project, emptied).code == 4
    digest = target["digest"].removeprefix("sha256:")[:12]
    assert apply(machines, project, emptied, approve="000000000000").code == 4
    done = apply(machines, project, emptied, approve=digest)
    assert done.code == 0, done.text
    assert "4 applied" in done.text


def test_a_plan_of_another_key_is_refused(machines: Machines, project: Project) -> None:
    """Without the key that the plan was made with, nobody can tell whether it is the reviewed one."""
    assert plan(machines, project, "main").code == 0
    machines.secrets["KVSYNC_STATE_KEY"] = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY="
    done = apply(machines, project, "main")
    assert done.code == 4
    assert "saved with another state directory (another key)" in done.text


def test_a_fork_gets_validation_without_a_secret(machines: Machines, project: Project) -> None:
    """The job that forks run needs no secret, and annotates the line that is wrong."""
    machines.secrets.clear()
    place = machines.checkout(project.root, "main")
    assert machines.github("kvsync-plan", "validate", place).code == 0
    broken = machines.checkout(project.root, project.replaced("greeting: Hello", "greeting: null"))
    done = machines.github("kvsync-plan", "validate", broken)
    assert done.code == 78
    assert "::error file=state/web.yaml,line=4,col=13,title=kvsync%3A invalid::keys.greeting: " in done.text


@needs_gh
def test_one_comment_is_kept_up_to_date(machines: Machines, project: Project) -> None:
    """A pull request has one comment of ours however often it is planned, with the newest plan, and others' are left alone."""
    fake = {"id": 1, "user": {"login": "mallory"}, "body": "<!-- kvsync-plan --> mine"}
    machines.code_host.comments.append(dict(fake))
    assert plan(machines, project, "main").code == 0
    assert plan(machines, project, project.replaced("greeting: Hello", "greeting: '@all <b>'")).code == 0
    other, ours = machines.code_host.comments
    assert other == fake
    assert ours["body"].startswith("<!-- kvsync-plan -->\n### kvsync plan: 4 to create")
    assert "@all" not in ours["body"].replace("@<!-- -->all", "")
    assert machines.code_host.artifacts[-1]["name"] in ours["body"]
    assert "hunter2" not in ours["body"] + str(machines.code_host.artifacts)


@needs_gh
def test_each_environment_has_its_own_comment(machines: Machines, project: Project) -> None:
    """The comment of one environment is replaced by its own newest plan, not by that of another environment."""
    configuration = (project.root / "kvsync.yaml").read_text(encoding="utf-8")
    for environment in ("dev", "prod", "dev"):
        declared = f"environments: [dev, prod]\nenvironment: {environment}\n"
        done = plan(machines, project, project.write(configuration + declared, "kvsync.yaml"))
        assert done.code == 0, done.text
    headings = [one["body"].splitlines()[:2] for one in machines.code_host.comments]
    assert [marker for marker, _heading in headings] == ["<!-- kvsync-plan dev -->", "<!-- kvsync-plan prod -->"]
    assert headings[1][1].startswith("### kvsync plan (prod): 4 to create")


@needs_gh
def test_a_refusal_is_reported_on_the_pull_request(machines: Machines, project: Project) -> None:
    """When a merge is not applied, its pull request says why and how to go on; an artifact of a fork does not count."""
    assert plan(machines, project, "main").code == 0
    machines.code_host.artifacts[-1]["workflow_run"]["head_repository_id"] = 2
    assert apply(machines, project, "main").code == 4
    told = machines.code_host.comments[-1]["body"]
    assert "no plan was made for the files as they are on main now" in told
    assert "Run the workflow **kvsync plan** on main" in told


@needs_gh
def test_drift_keeps_one_issue(machines: Machines, project: Project) -> None:
    """Drift opens an issue, more drift changes it, none closes it, and no drift opens nothing."""

    def look(commit: str) -> None:
        done = machines.github("kvsync-drift", "drift", machines.checkout(project.root, commit))
        assert done.code == 0, done.text

    merged(machines, project)
    before = project.replaced("timeout: 30", "timeout: 31")
    look("main")
    assert machines.code_host.issues == []
    merged(machines, project)
    changed_by_hand(machines, "by hand")
    look(before)
    look(before)
    (issue,) = machines.code_host.issues
    assert issue["state"] == "open"
    assert issue["labels"] == ["kvsync-drift"]
    assert "<code>greeting</code>" in issue["body"]
    merged(machines, project)
    look(before)
    assert issue["state"] == "closed"


def changed_by_hand(machines: Machines, value: str) -> None:
    """Change an entry of the store as someone who does not know kvsync, with the vendor's library."""
    with client(machines) as azure:
        setting = azure.get_configuration_setting("web:greeting")
        assert setting is not None
        setting.value = value
        azure.set_configuration_setting(setting)


def entries(machines: Machines) -> list[str]:
    """The keys in the store, asked with the vendor's library."""
    with client(machines) as azure:
        return [setting.key for setting in azure.list_configuration_settings()]


def client(machines: Machines) -> AzureAppConfigurationClient:
    return AzureAppConfigurationClient.from_connection_string(machines.secrets["AZURE_APPCONFIG_CONNECTION_STRING"])
