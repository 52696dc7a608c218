"""Runs the shell of the jobs in `examples/ci` as the runners do, each job in a checkout of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.ci.code_host import PULL, CodeHost
from tests.support.program import shared_program

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/ci"
WORKFLOWS = EXAMPLE / ".github/workflows"
KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
"""32 bytes in base64."""

BASE = "github.event.pull_request.base.sha || github.sha"
"""The expression for the commit whose configuration a change is judged by."""

SHELL = ("bash", "--noprofile", "--norc", "-eu", "-o", "pipefail", "-c")


@dataclass(slots=True)
class JobResult:
    """What became of a job: the exit code of the step that ended it (0: none did) and what all of them printed."""

    code: int = 0
    text: str = ""


def workflow(name: str) -> Any:
    """A workflow of GitHub Actions as data."""
    return yaml.safe_load((WORKFLOWS / f"{name}.yaml").read_text(encoding="utf-8"))


def gitlab() -> Any:
    """GitLab's file as data, with what its `!reference` names put in place."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!reference", lambda _, node: node)
    return yaml.load((EXAMPLE / ".gitlab-ci.yml").read_text(encoding="utf-8"), Loader)


class Machines:
    """Where jobs run: with kvsync and git, the secrets of the project, and a code host to talk to."""

    def __init__(self, folder: Path, code_host: CodeHost, secrets: Mapping[str, str]) -> None:
        self.folder, self.code_host, self.secrets = folder, code_host, dict(secrets)
        self.summary = folder / "summary.md"
        self._count = 0
        self.programs = folder / "programs"
        self.programs.mkdir()
        shared_program().write(self.programs)
        (folder / "gh").mkdir()
        (folder / "gh/config.yml").write_text(f"http_unix_socket: {folder}/forge\n")

    def checkout(self, repository: Path, commit: str) -> Path:
        """A fresh checkout of a commit."""
        self._count += 1
        place = self.folder / f"job{self._count}"
        git(self.folder, "clone", "--quiet", str(repository), str(place))
        git(place, "checkout", "--quiet", "--detach", commit)
        return place

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """What a runner's shell has, and nothing of this one's that kvsync reads."""
        clean = {key: os.environ[key] for key in ("HOME", "LANG", "TMPDIR") if key in os.environ}
        return (
            clean
            | {"PATH": f"{self.programs}:{os.environ['PATH']}", "GH_CONFIG_DIR": f"{self.folder}/gh"}
            | dict(extra)
        )

    def github(self, name: str, job: str, place: Path, event: Mapping[str, str] | None = None) -> JobResult:
        """Run a job of a workflow. `event` has the values of expressions that are of the event."""
        described = workflow(name)
        known = {f"secrets.{key}": value for key, value in self.secrets.items()}
        known |= {"github.token": "t", "github.event.pull_request.number": "", "inputs.approve": ""} | dict(event or {})
        known.setdefault(BASE, git(place, "rev-parse", "HEAD"))
        known["runner.temp"] = str(place.with_suffix(".temp"))
        place.with_suffix(".temp").mkdir()
        output = self.folder / f"{place.name}.output"
        output.touch()
        runner = {
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_SERVER_URL": "https://forge.example",
            "GITHUB_REPOSITORY": "o/r",
            "GITHUB_RUN_ID": "5",
            "RUNNER_TEMP": known["runner.temp"],
            "GITHUB_SHA": git(place, "rev-parse", "HEAD"),
            "GH_HOST": "github.localhost",
        }
        done = JobResult()
        for step in described["jobs"][job]["steps"]:
            if not _is_due(step.get("if"), done, known):
                continue
            if "upload-artifact" in step.get("uses", ""):
                path = place / _filled(step["with"]["path"], known)
                self.code_host.keep(_filled(step["with"]["name"], known), path.read_bytes())
            if "run" not in step or step["name"] == "Install kvsync":
                continue
            if "GH_TOKEN" in step.get("env", {}) and shutil.which("gh") is None:
                self._without_gh(step["name"], place)
                continue
            given = {key: _filled(value, known) for key, value in step.get("env", {}).items()}
            code, text = self._shell(step["run"], place, runner | described["env"] | given)
            done.text += text
            done.code = done.code or code
            if "id" in step:
                lines = [line.partition("=") for line in output.read_text().splitlines()]
                known |= {f"steps.{step['id']}.outputs.{key}": value for key, _, value in lines}
        return done

    def gitlab(self, job: str, place: Path, **variables: str) -> JobResult:
        """Run a job of GitLab's file."""
        described = gitlab()
        parent = described[described[job]["extends"]]
        scripts = [
            item
            for part in parent["before_script"]
            for item in ([part] if isinstance(part, str) else described[".kvsync"]["before_script"])
        ]
        before = [item for item in scripts if "pip install" not in item]
        runner = {
            "CI_API_V4_URL": f"{self.code_host.url}/api/v4",
            "CI_PROJECT_ID": "1",
            "CI_JOB_TOKEN": "t",
            "CI_JOB_URL": "https://forge.example/-/jobs/5",
            "CI_COMMIT_SHA": git(place, "rev-parse", "HEAD"),
            "CI_COMMIT_BRANCH": "main",
            "KVSYNC_BOT_TOKEN": "t",
        }
        given = self.secrets | described["variables"] | described[job].get("variables", {}) | variables
        code, text = self._shell("\n".join([*before, *described[job]["script"]]), place, runner | given)
        return JobResult(code, text)

    def _without_gh(self, step: str, place: Path) -> None:
        """What the jobs need of GitHub's command line where it is not installed; what it shows to people is then not tested."""
        name = f"kvsync-plan-{git(place, 'rev-parse', 'HEAD^{tree}')}"
        kept = [one["content"] for one in self.code_host.artifacts if one["name"] == name]
        if step.startswith("Fetch") and kept:
            reviewed = place.with_suffix(".temp") / "reviewed"
            reviewed.mkdir()
            (reviewed / "plan.json").write_bytes(kept[-1])

    def _shell(self, script: str, place: Path, environment: Mapping[str, str]) -> tuple[int, str]:
        done = subprocess.run(
            [*SHELL, script],
            cwd=place,
            env=self.environment(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


def git(folder: Path, *arguments: str) -> str:
    """Run git, as someone, and without what this machine configures."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", *identity, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def pull_request(base: str | None = None) -> dict[str, str]:
    """The event of a pull request, onto `base` (None: onto its own commit)."""
    event = {"github.event.pull_request.number": str(PULL)}
    return event if base is None else event | {BASE: base}


def _filled(text: str, known: Mapping[str, str]) -> str:
    return re.sub(
        r"\$\{\{ (.+?) \}\}", lambda match: known.get(match[1], "") if "steps." in match[1] else known[match[1]], text
    )


def _is_due(condition: str | None, done: JobResult, known: Mapping[str, str]) -> bool:
    if condition is None:
        return done.code == 0
    if condition == "failure()":
        return done.code != 0
    assert condition == "${{ !cancelled() && steps.plan.outputs.tree != '' }}"
    return known.get("steps.plan.outputs.tree", "") != ""
