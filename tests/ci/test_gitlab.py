"""The jobs of GitLab, from the merge request to the store."""

from __future__ import annotations

import json

import pytest

from tests.ci.code_host import PULL
from tests.ci.conftest import Project
from tests.ci.jobs import JobResult, Machines, git


def plan(machines: Machines, project: Project, commit: str) -> JobResult:
    """The job that plans a merge request."""
    return machines.gitlab("kvsync:plan", machines.checkout(project.root, commit), CI_MERGE_REQUEST_IID=str(PULL))


def apply(machines: Machines, project: Project, commit: str, **variables: str) -> JobResult:
    """The job that applies what is on main."""
    return machines.gitlab("kvsync:apply", machines.checkout(project.root, commit), **variables)


def test_what_was_reviewed_is_what_is_applied(machines: Machines, project: Project) -> None:
    """A merge request has one note however often it is planned, and merging it applies the newest plan; a second time
    nothing is left, and a merge that nobody planned is refused with a note."""
    assert plan(machines, project, "main").code == 0
    changed = project.replaced("greeting: Hello", "greeting: Good morning")
    assert plan(machines, project, changed).code == 0
    (note,) = machines.code_host.comments
    assert note["body"].startswith("<!-- kvsync-plan -->\n### kvsync plan: 4 to create")
    assert "Good morning" in note["body"]
    done = apply(machines, project, project.squash())
    assert done.code == 0, done.text
    assert "4 applied" in done.text
    assert "applied" not in apply(machines, project, "main").text
    assert apply(machines, project, project.replaced("Good morning", "Good evening")).code == 4
    assert "no plan was made for the files as they are now" in machines.code_host.comments[-1]["body"]


def test_each_environment_has_its_own_note(machines: Machines, project: Project) -> None:
    """The note of one environment is replaced by its own newest plan, not by that of another environment."""
    configuration = (project.root / "kvsync.yaml").read_text(encoding="utf-8")
    for environment in ("dev", "prod", "dev"):
        declared = f"environments: [dev, prod]\nenvironment: {environment}\n"
        done = plan(machines, project, project.write(configuration + declared, "kvsync.yaml"))
        assert done.code == 0, done.text
    markers = [one["body"].splitlines()[0] for one in machines.code_host.comments]
    assert markers == ["<!-- kvsync-plan dev -->", "<!-- kvsync-plan prod -->"]


def test_a_tampered_plan_is_refused(machines: Machines, project: Project) -> None:
    """A plan from which a change was taken applies nothing, and the note says that the file was changed."""
    assert plan(machines, project, "main").code == 0
    ((tree, kept),) = machines.code_host.packages.items()
    document = json.loads(kept)
    del document["targets"][0]["changes"][0]
    machines.code_host.packages[tree] = json.dumps(document).encode()
    assert apply(machines, project, "main").code == 4
    assert "the file was changed after kvsync" in machines.code_host.comments[-1]["body"]


def test_validation_reports_code_quality(machines: Machines, project: Project) -> None:
    """The report is made without a secret, empty where all is well, and names file and line where not."""
    machines.secrets = {}
    for commit, code in (
        (git(project.root, "rev-parse", "main"), 0),
        (project.replaced("greeting: Hello", "greeting: null"), 78),
    ):
        place = machines.checkout(project.root, commit)
        assert machines.gitlab("kvsync:validate", place).code == code
        report = json.loads((place / "gl-code-quality-report.json").read_text())
        assert [one["location"] for one in report] == (
            [{"path": "state/web.yaml", "lines": {"begin": 4}}] if code else []
        )


@pytest.mark.parametrize("pending", [False, True])
def test_drift_keeps_one_issue(machines: Machines, project: Project, pending: bool) -> None:
    """Changes of the files are not drift: no issue is opened for them, and an open one is closed."""
    if pending:
        machines.code_host.issues.append({"iid": 1, "state": "open"})
    done = machines.gitlab("kvsync:drift", machines.checkout(project.root, "main"))
    assert done.code == 0, done.text
    assert [one["state"] for one in machines.code_host.issues] == (["closed"] if pending else [])
