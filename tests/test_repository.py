"""The repository's own habits: its CI, hooks and templates do what the Makefile and `.ci/run` do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
GITHUB = ROOT / ".github"
WORKFLOW = GITHUB / "workflows/ci.yaml"


def loaded(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def run_tool(program: str, *arguments: str | Path) -> None:
    """Run a tool that is installed next to this Python, and expect it to find nothing."""
    command = [Path(sys.executable).parent / program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def recipe(target: str) -> list[str]:
    """The commands of a target of the Makefile."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
    assert found is not None
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in found[1].splitlines()]


def test_hooks_run_the_linters() -> None:
    """The pre-commit hooks are the commands of `make lint`, in order, on the whole repository."""
    (local,) = loaded(ROOT / ".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"
    assert [hook["entry"] for hook in local["hooks"]] == [*recipe("style"), *recipe("analysis")]
    assert all(hook["language"] == "system" and hook["pass_filenames"] is False for hook in local["hooks"])


def test_workflow_runs_what_ci_runs() -> None:
    """The workflow runs the same make targets as `.ci/run`, no more and no less."""
    steps = [step["run"] for job in loaded(WORKFLOW)["jobs"].values() for step in job["steps"] if "run" in step]
    used, wanted = ("\n".join(steps), (ROOT / ".ci/run").read_text(encoding="utf-8"))
    targets = [set(re.findall(r"^(?:.* )?make ([a-z-]+)", text, re.MULTILINE)) for text in (used, wanted)]
    assert targets[0] == targets[1] == {"tools", "demo", "test", "test-system"}


def test_actions_are_pinned_as_in_the_examples() -> None:
    """Each action is pinned by a full commit hash, the one that `examples/ci` uses."""
    pins = re.compile(r"uses: (\S+@[0-9a-f]{40})  # v[\d.]+$", re.MULTILINE)
    text = WORKFLOW.read_text(encoding="utf-8")
    examples = "\n".join(file.read_text() for file in (ROOT / "examples/ci/.github/workflows").glob("*.yaml"))
    assert len(pins.findall(text)) == text.count("uses:")
    assert set(pins.findall(text)) <= set(pins.findall(examples))


def test_workflow_is_valid_and_safe() -> None:
    """GitHub's schema accepts the workflow, and zizmor finds nothing at its strictest."""
    run_tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW)
    run_tool("zizmor", "--offline", "--no-progress", "--no-config", "--persona=pedantic", GITHUB)


def test_yaml_is_tidy() -> None:
    """yamllint finds nothing in the templates, the workflow and the hooks."""
    run_tool("yamllint", "--strict", "-c", ROOT / ".yamllint.yaml", GITHUB, ROOT / ".pre-commit-config.yaml")


def test_issue_templates_are_valid() -> None:
    """GitHub's schemas accept the issue forms and their configuration."""
    forms = sorted(file for file in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if file.stem != "config")
    assert [form.stem for form in forms] == ["bug", "feature", "question"]
    run_tool("check-jsonschema", "--builtin-schema", "vendor.github-issue-forms", *forms)
    run_tool("check-jsonschema", "--builtin-schema", "vendor.github-issue-config", GITHUB / "ISSUE_TEMPLATE/config.yml")
