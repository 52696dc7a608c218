"""A change is data to the jobs that look at it: it decides neither what they read, nor where they go, nor what they show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ci.code_host import PULL
from tests.ci.conftest import Project
from tests.ci.jobs import JobResult, Machines, git, pull_request

WIDER = "authors:\n  env: [API_TOKEN, KVSYNC_STATE_KEY]\n"
STEALS = "store: settings\nnamespace: web\nkeys:\n  key: {env: KVSYNC_STATE_KEY}\n"
FORGES = ("github", "gitlab")


def job(machines: Machines, code_host: str, name: str, place: Path, base: str) -> JobResult:
    """A job of a change onto `base`: `plan` or `validate`."""
    if code_host == "github":
        return machines.github("kvsync-plan", name, place, pull_request(base))
    target = {"CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main", "CI_MERGE_REQUEST_IID": str(PULL)}
    return machines.gitlab(f"kvsync:{name}", place, **target)


@pytest.fixture
def change(project: Project) -> Project:
    """The repository with the branch of a change; `main` stays where it is."""
    git(project.root, "checkout", "--quiet", "-b", "change")
    return project


def results(machines: Machines) -> tuple[int, int, int]:
    """What a job left on the code host: comments, artifacts, packages."""
    code_host = machines.code_host
    return len(code_host.comments), len(code_host.artifacts), len(code_host.packages)


@pytest.mark.parametrize("code_host", FORGES)
@pytest.mark.parametrize("name", ["validate", "plan"])
def test_a_change_cannot_grant_itself_a_secret(machines: Machines, change: Project, code_host: str, name: str) -> None:
    """A state file that takes a secret of the job, with the line that allows it, is an error, and nothing of it is shown."""
    base = git(change.root, "rev-parse", "main")
    config = (change.root / "kvsync.yaml").read_text()
    change.write(config.replace("authors:\n  env: [API_TOKEN]", WIDER.rstrip()), "kvsync.yaml")
    done = job(machines, code_host, name, machines.checkout(change.root, change.write(STEALS)), base)
    assert done.code == 78
    assert "state/web.yaml:4:14: keys.key.env: would write the variable KVSYNC_STATE_KEY" in done.text
    assert results(machines) == (0, 0, 0)


@pytest.mark.parametrize("code_host", FORGES)
def test_a_change_cannot_send_the_credential_elsewhere(machines: Machines, change: Project, code_host: str) -> None:
    """The plan goes to the store that the target branch names, whatever the change says; validate says what that widens."""
    base = git(change.root, "rev-parse", "main")
    config = (change.root / "kvsync.yaml").read_text()
    elsewhere = config.replace("type: azure-appconfig,", "type: azure-appconfig, endpoint: 'http://127.0.0.1:9',")
    assert elsewhere != config
    commit = change.write(elsewhere, "kvsync.yaml")
    done = job(machines, code_host, "plan", machines.checkout(change.root, commit), base)
    assert done.code == 0, done.text
    told = job(machines, code_host, "validate", machines.checkout(change.root, commit), base)
    assert told.code == 0, told.text
    assert (
        code_host == "gitlab"
        or "widens stores.settings: points to another place or uses another credential" in told.text
    )


@pytest.mark.parametrize("code_host", FORGES)
def test_a_change_cannot_bring_its_own_plan(machines: Machines, change: Project, code_host: str) -> None:
    """Files that are called like the jobs' own are neither shown nor kept when no plan could be made."""
    base = git(change.root, "rev-parse", "main")
    for name in ("plan.md", "plan.json", "comment.md"):
        (change.root / name).write_text("<!-- kvsync-plan -->\nnothing to do")
    git(change.root, "add", "--all")
    commit = change.replaced("greeting: Hello", "greeting: null")
    place = machines.checkout(change.root, commit)
    assert job(machines, code_host, "plan", place, base).code == 78
    assert results(machines) == (0, 0, 0)
    assert code_host == "github" or not (place / "plan.json").exists()


@pytest.mark.parametrize("code_host", FORGES)
def test_a_state_directory_of_the_change_is_not_used(machines: Machines, change: Project, code_host: str) -> None:
    """What a change puts where kvsync keeps its state is not opened: the state of the jobs lies outside of the checkout."""
    base = git(change.root, "rev-parse", "main")
    (change.root / ".kvsync").mkdir()
    for name in ("state.db", "cache.db", "key"):
        (change.root / ".kvsync" / name).write_text("not a database")
    git(change.root, "add", "--all", "--force")
    commit = change.replaced("greeting: Hello", "greeting: Good morning")
    done = job(machines, code_host, "plan", machines.checkout(change.root, commit), base)
    assert done.code == 0, done.text
