"""The public API: its surface changes on purpose only, everything in it is documented, and importing it is cheap."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest

import kvsync
import kvsync.testing

ROOT = Path(__file__).resolve().parent.parent

sys.path.insert(0, str(ROOT / "scripts"))
import public_api  # noqa: E402  the script is not part of the package

NAMES = [name for name in (*kvsync.__all__, *kvsync.testing.__all__) if not name.startswith("__")]


def test_surface_is_as_recorded() -> None:
    """Names and signatures are those of tests/recorded/api.txt; scripts/public_api.py records a deliberate change."""
    assert public_api.surface() == public_api.RECORDED.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_public_names_have_docstrings(name: str) -> None:
    """Each name has a docstring of its own, and so has each public member of a class."""
    found = public_api.find(name)
    assert _has_docstring(found), name
    if isinstance(found, type) and not issubclass(found, Enum):
        assert [member for member, value in public_api.members(found) if not _has_docstring(value)] == []


def _has_docstring(found: object) -> bool:
    text = inspect.cleandoc(found.__doc__ or "")
    made_by_dataclass = isinstance(found, type) and text.startswith(f"{found.__name__}(")
    return bool(text) and not made_by_dataclass


def test_each_name_has_one_place_in_the_reference() -> None:
    """docs/api.md describes each public name once."""
    assert public_api.groups_of(NAMES) == dict.fromkeys(NAMES, 1)


def test_type_checkers_and_python_find_the_same_names() -> None:
    """The imports for type checkers and the table of modules lead to the same objects."""
    tree = ast.parse((ROOT / "kvsync/__init__.py").read_text(encoding="utf-8"))
    typed = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == kvsync._MODULE_OF
    assert {*typed, "__version__"} == set(kvsync.__all__)
    assert sorted(kvsync.__all__) == kvsync.__all__


def test_unknown_names_raise_attribute_error() -> None:
    """A misspelled name fails as in any other module, and completion offers the names that exist."""
    with pytest.raises(AttributeError, match="no attribute 'Stroe'"):
        getattr(kvsync, "Stroe")  # noqa: B009  mypy would find it otherwise
    assert set(kvsync.__all__) <= set(dir(kvsync))


def test_importing_kvsync_imports_nothing_else() -> None:
    """`import kvsync` loads none of its own modules; a public name loads what it needs."""
    shown = "import sys, kvsync; print(sorted(name for name in sys.modules if name.startswith('kvsync.')))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", shown], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_program_in_the_reference_plans_and_applies(tmp_path: Path) -> None:
    """The program in docs/api.md applies the files of the repository it runs in."""
    (tmp_path / "state").mkdir()
    (tmp_path / "kvsync.yaml").write_text(
        "version: 1\nowner: a\npolicy: {prune: owned}\nstores: {local: {type: sqlite, path: s.db}}\n"
    )
    (tmp_path / "state/web.yaml").write_text("store: local\nnamespace: web\nkeys: {greeting: Hello}\n")
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    program = next(block for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S) if "asyncio.run" in block)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "'applied': 1" in done.stdout


def test_workspace_opens_by_its_public_name(tmp_path: Path) -> None:
    """`kvsync.open_workspace` gives a `kvsync.Workspace`."""
    (tmp_path / "kvsync.yaml").write_text(
        "version: 1\nowner: a\npolicy: {prune: owned}\nstores: {local: {type: memory}}\n"
    )

    async def opened() -> bool:
        async with kvsync.open_workspace(tmp_path / "kvsync.yaml") as workspace:
            return isinstance(workspace, kvsync.Workspace)

    assert asyncio.run(opened())
