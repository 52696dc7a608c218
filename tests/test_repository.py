"""The repository's own habits: its CI, hooks and templates do what the Makefile and `.ci/run` do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.support.program import shared_program

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import screenshots  # noqa: E402  the scripts are not part of the package

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


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository that the pictures show."""
    folder = tmp_path_factory.mktemp("shop")
    shared_program().write(folder)
    return screenshots.write_shop(folder, [str(folder / "kvsync")])


def test_pictures_of_a_plan_are_current(shop: Path) -> None:
    """The pictures of a terminal show what `kvsync plan` prints (`make screenshots` makes them again)."""
    printed = screenshots.plain(screenshots.plan(shop, [str(shop / "kvsync")]))
    assert printed == (screenshots.IMAGES / "plan.txt").read_text(encoding="utf-8")
    for theme in screenshots.THEMES:
        drawing = ElementTree.parse(screenshots.IMAGES / f"plan-{theme}.svg")
        texts = "".join(drawing.getroot().itertext())
        assert _letters(printed) in _letters(re.sub(r"approve\W[0-9a-f]{12}", "approve HASH", texts)), theme


def test_pictures_of_the_page_are_current(shop: Path) -> None:
    """The page still has the headings and labels that it had when its pictures were made (`make screenshots`)."""
    with screenshots.page(shop) as url:
        assert screenshots.labels(url) == (screenshots.IMAGES / "page.txt").read_text(encoding="utf-8")


def test_pictures_are_small_and_used() -> None:
    """Each picture is part of a page, each picture of a page exists, and none has more than 150 kB."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    sources = ((page, src) for page in pages for src in re.findall(r'src(?:set)?="([^"]+)"', page.read_text("utf-8")))
    used = {(page.parent / source).resolve() for page, source in sources}
    pictures = {file for file in screenshots.IMAGES.iterdir() if file.suffix != ".txt"}
    assert used == pictures
    assert max(file.stat().st_size for file in pictures) < 150_000


def _letters(text: str) -> str:
    return re.sub(r"\s", "", text)


def test_file_names_are_plain() -> None:
    """No file is there by a slip of a shell: names need no quoting anywhere."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip("not a clone of the repository: git ls-files lists nothing here")
    names = done.stdout.split("\0")[:-1]
    assert len(names) > 500
    assert [name for name in names if not re.fullmatch(r"[A-Za-z0-9._/@+-]+", name)] == []
