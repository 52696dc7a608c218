"""The workflows as files: as their schemas want them, safe, and with shell that is sound."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kvsync import __version__
from tests.ci.jobs import EXAMPLE, ROOT, WORKFLOWS, gitlab, workflow

NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.yaml"))


def checked(*command: str | Path) -> tuple[int, str]:
    """The exit code and the words of a tool that is installed next to this Python."""
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def scripts() -> dict[str, str]:
    """All shell, by where it stands."""
    found = {
        f"{name}: {step['name']}": step["run"]
        for name in NAMES
        for job in workflow(name)["jobs"].values()
        for step in job["steps"]
        if "run" in step
    }
    for name, job in gitlab().items():
        if isinstance(job, dict) and "script" in job:
            before = gitlab()[job["extends"]]["before_script"]
            lines = [line for line in [*before, *job["script"]] if isinstance(line, str)]
            found[name] = "\n".join(lines)
    return found


def test_workflows_are_as_github_wants_them() -> None:
    """Every workflow holds against the schema of GitHub's workflows."""
    files = sorted(WORKFLOWS.glob("*.yaml"))
    code, text = checked("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
    assert code == 0, text


def test_the_pipeline_is_as_gitlab_wants_it() -> None:
    """GitLab's file holds against the schema of its pipelines."""
    file = EXAMPLE / ".gitlab-ci.yml"
    options = ("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci")
    code, text = checked("check-jsonschema", *options, file)
    assert code == 0, text


def test_workflows_are_safe() -> None:
    """zizmor, at its strictest that needs no network, finds nothing: least permissions, pinned actions, no injection."""
    code, text = checked("zizmor", "--offline", "--no-progress", "--no-config", "--persona=pedantic", WORKFLOWS)
    assert code == 0, text


@pytest.mark.parametrize("place", scripts())
def test_shell_is_sound(place: str, tmp_path: Path) -> None:
    """ShellCheck finds nothing in any script."""
    script = tmp_path / "script.sh"
    script.write_text(scripts()[place])
    code, text = checked("shellcheck", "--shell=bash", script)
    assert code == 0, text


def test_layout() -> None:
    """What people copy and edit is laid out in one way."""
    code, text = checked("yamllint", "--strict", "-c", ROOT / ".yamllint.yaml", EXAMPLE)
    assert (code, text) == (0, "")


def test_workflows_install_this_version() -> None:
    """The workflows run the kvsync that they are shipped with."""
    files = [EXAMPLE / ".gitlab-ci.yml", *WORKFLOWS.glob("*.yaml")]
    versions = [re.findall(r"KVSYNC_VERSION: \"(.+)\"", path.read_text(encoding="utf-8")) for path in files]
    assert versions == [[__version__]] * 4


@pytest.mark.parametrize(
    ("installed", "is_accepted"),
    [
        (f"kvsync {__version__}", True),
        (f"kvsync {__version__} (commit 0123456789ab)", True),
        (f"kvsync {__version__}0", False),
        ("kvsync 0.9.0 (commit 0123456789ab)", False),
    ],
)
def test_jobs_check_the_installed_version(installed: str, is_accepted: bool, tmp_path: Path) -> None:
    """Every job accepts the kvsync that it names, with the commit that a released package shows, and no other."""
    program = tmp_path / "kvsync"
    program.write_text(f"#!/bin/sh\necho '{installed}'\n")
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "KVSYNC_VERSION": __version__}
    installs = [text for text in (*scripts().values(), *gitlab()[".kvsync"]["before_script"]) if "pip install" in text]
    checks = [check for text in installs for check in re.findall(r"^case .*?^esac$", text, re.MULTILINE | re.DOTALL)]
    assert len(checks) == 5
    for text in checks:
        done = subprocess.run(["sh", "-eu", "-c", text], env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is is_accepted, done.stderr
        assert is_accepted or f"expected kvsync {__version__}, but" in done.stderr


def test_two_applies_never_run_together() -> None:
    """What writes waits for what writes, and is never cancelled half done."""
    assert workflow("kvsync-apply")["concurrency"] == {"group": "kvsync-apply", "cancel-in-progress": False}
    job = gitlab()["kvsync:apply"]
    assert (job["resource_group"], job["interruptible"]) == ("kvsync-apply", False)


def test_what_is_installed_is_pinned_by_hash() -> None:
    """Every job installs from a list with hashes, as wheels, and with a Python that imports nothing from the checkout."""
    installs = [text for text in (*scripts().values(), *gitlab()[".kvsync"]["before_script"]) if "pip install" in text]
    assert len(installs) == 5
    for text in installs:
        assert "python -I -m pip install" in text
        assert "--require-hashes --only-binary :all:" in text
    assert not any(re.search(r"python3? -m", text) for text in scripts().values())


def test_a_change_does_not_choose_what_is_installed() -> None:
    """Jobs of a change take the list from the target branch; so does every job of GitLab, whose pipelines share it."""
    jobs = workflow("kvsync-plan")["jobs"]
    changed = [step["run"] for job in jobs.values() for step in job["steps"] if step.get("name") == "Install kvsync"]
    for text in (*changed, gitlab()[".kvsync"]["before_script"][1]):
        assert 'git cat-file blob "$BASE:kvsync-requirements.txt"' in text


def test_no_workflow_runs_with_the_rights_of_the_target_for_code_of_a_change() -> None:
    """No trigger gives secrets to forks, and every job that has secrets names an environment that can guard them."""
    for name in NAMES:
        described = workflow(name)
        assert set(described["on"]).isdisjoint({"pull_request_target", "workflow_run"})
        for job in described["jobs"].values():
            assert "${{ secrets." not in str(job) or job["environment"] in ("kvsync-plan", "kvsync-apply")
