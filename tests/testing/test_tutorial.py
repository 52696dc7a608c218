"""The tutorial in docs/writing-a-store.md: its code runs, and the conformance suite reports what it says after each step."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs/writing-a-store.md").read_text(encoding="utf-8")
TUTORIAL = PAGE[: PAGE.index("\n## The contract\n")]
STORE, TESTS = "kvsync_jsonfile.py", "test_jsonfile.py"


class Author:
    """The files of someone who follows the tutorial."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def follow(self, code: str) -> None:
        """Start a file that the block names, or add the functions of the block to the store in place of older ones."""
        first = code.partition("\n")[0]
        if first in (f"# {STORE}", f"# {TESTS}"):
            (self.folder / first.removeprefix("# ")).write_text(code)
            return
        for node in ast.parse(code).body:
            if isinstance(node, ast.ClassDef):
                for method in node.body:
                    self._put(method, code, is_method=True)
            else:
                self._put(node, code, is_method=False)

    def _put(self, new: ast.stmt, code: str, *, is_method: bool) -> None:
        assert isinstance(new, ast.FunctionDef | ast.AsyncFunctionDef)
        source = (self.folder / STORE).read_text()
        module = ast.parse(source)
        store = next(node for node in module.body if isinstance(node, ast.ClassDef))
        siblings = store.body if is_method else module.body
        old = next((node for node in siblings if getattr(node, "name", None) == new.name), None)
        lines, text = source.splitlines(), code.splitlines()[slice(*_lines(new))]
        if old is not None:
            lines[slice(*_lines(old))] = text
        elif is_method:
            lines[store.end_lineno : store.end_lineno] = ["", *text]
        else:
            lines += ["", "", *text]
        (self.folder / STORE).write_text("\n".join(lines) + "\n")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder, with kvsync and the store installed."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("KVSYNC_", "PYTEST_"))}
        environment |= {"PYTHONPATH": f"{ROOT}:{self.folder}", "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def run_tests(self) -> str:
        """Run pytest on the author's tests, and give its output."""
        options = ["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={self.folder}/tmp", "--rootdir", str(self.folder)]
        return self.run(sys.executable, "-m", "pytest", *options, TESTS).stdout


def _lines(node: ast.stmt) -> tuple[int, int]:
    """First and last line of a function in its file, decorators included, as a slice."""
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    assert node.end_lineno is not None
    return first - 1, node.end_lineno


def blocks() -> list[tuple[str, str]]:
    """Language and text of each code block, in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```", TUTORIAL, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Author:
    """The author at the end of the tutorial."""
    author = Author(tmp_path_factory.mktemp("author"))
    for language, text in blocks():
        if language == "python":
            author.follow(text)
    return author


@pytest.mark.system
def test_suite_reports_the_next_step(tmp_path: Path) -> None:
    """After each part of the tutorial, the first failure is the one that the page shows."""
    author, checked = Author(tmp_path), 0
    for language, text in blocks():
        if language == "python":
            author.follow(text)
        elif language == "text":
            output = author.run_tests()
            shown = text.splitlines()[1]
            found = [line for line in output.splitlines() if line.startswith(shown.partition(" - ")[0])]
            assert found, f"expected {shown!r} in\n{output}"
            checked += 1
    assert checked == 8


def test_later_steps_wait_for_earlier_ones(tmp_path: Path) -> None:
    """Without `-x`, one failure is reported, and the tests of later steps are skipped with its name."""
    author = Author(tmp_path)
    for language, text in blocks()[:2]:
        assert language == "python"
        author.follow(text)
    done = author.run(sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", TESTS)
    assert "1 failed, 58 skipped" in done.stdout
    assert 'first make test_new_namespace_is_empty pass (step "observe an empty namespace")' in done.stdout


def test_imports_are_public(author: Author) -> None:
    """The store and its tests import only `kvsync` and `kvsync.testing`."""
    for name in (STORE, TESTS):
        modules = re.findall(r"^\s*(?:from|import) (kvsync[.\w]*)", (author.folder / name).read_text(), re.MULTILINE)
        assert set(modules) <= {"kvsync", "kvsync.testing", "kvsync_jsonfile"}


@pytest.mark.system
def test_store_is_typed(author: Author) -> None:
    """The finished store passes mypy --strict and ruff with the rules of kvsync."""
    tools = Path(sys.executable).parent
    config = f"--config-file={ROOT}/pyproject.toml"
    checks = (
        [str(tools / "ruff"), "check", f"--config={ROOT}/pyproject.toml", STORE],
        [str(tools / "ruff"), "format", "--check", f"--config={ROOT}/pyproject.toml", STORE, TESTS],
        [str(tools / "mypy"), "--strict", config, f"--cache-dir={author.folder}/cache", STORE],
    )
    for command in checks:
        done = author.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr


def test_installed_store_works(author: Author) -> None:
    """With its entry point, the store type works in kvsync.yaml, with the commands that the page shows."""
    shown = dict(blocks())
    group, line = shown["toml"].splitlines()
    assert group == '[project.entry-points."kvsync.stores"]'
    metadata = author.folder / "kvsync_jsonfile-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: kvsync-jsonfile\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text(f"[kvsync.stores]\n{line.replace(chr(34), '')}\n")
    (author.folder / "bin").mkdir()
    (author.folder / "bin/kvsync").write_text(f"#!/bin/sh\nexec '{sys.executable}' -m kvsync \"$@\"\n")
    (author.folder / "bin/kvsync").chmod(0o755)
    (author.folder / "kvsync.yaml").write_text(shown["yaml"])
    done = author.run("bash", "-ec", shown["sh"])
    assert done.returncode == 0, done.stdout + done.stderr
