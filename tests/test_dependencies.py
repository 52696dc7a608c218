"""kvsync uses the public interface of its dependencies."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import kvsync

PACKAGE = Path(kvsync.__file__).parent
PROJECT = PACKAGE.parent / "pyproject.toml"

PRIVATE = frozenset({"_thread", "watchfiles._rust_notify"})
"""Modules with a private name that kvsync imports. Each needs an upper bound, and a test of what kvsync uses of it:
`RustNotify` is described in the documentation of watchfiles, and tested in `tests/daemon/test_watch.py`. `_thread` is a
documented module of the standard library."""

NAMED_TUPLE = frozenset({"_asdict", "_fields", "_make", "_replace"})
"""The public methods of named tuples, which begin with an underscore so as not to meet a field."""


def _trees() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        yield str(file.relative_to(PACKAGE)), ast.parse(file.read_text(encoding="utf-8"))


def _imported(tree: ast.Module) -> Iterator[str]:
    """The names that a module imports from other packages, in full."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _private_part(name: str) -> str | None:
    """The name up to its first private part; None when all parts are public, or the package is kvsync."""
    parts = name.split(".")
    first = next((number for number, part in enumerate(parts) if _is_private(part)), None)
    return None if first is None or parts[0] == "kvsync" else ".".join(parts[: first + 1])


def _reaches_inside(node: ast.AST) -> bool:
    """True for a private attribute of anything but the code's own class. By convention `other` is of that class too."""
    if not isinstance(node, ast.Attribute) or not _is_private(node.attr) or node.attr in NAMED_TUPLE:
        return False
    return ast.unparse(node.value) not in {"self", "cls", "super()", "other"}


def test_no_private_module_of_a_dependency_is_imported() -> None:
    """Every import from another package is public, or one of those in `PRIVATE`."""
    found = {part for _, tree in _trees() for name in _imported(tree) if (part := _private_part(name))}
    assert found == PRIVATE


def test_no_private_attribute_of_another_object_is_used() -> None:
    """Only a class uses its own private attributes: those of a dependency may be gone in its next release."""
    found = [
        f"{file}:{node.lineno}: {ast.unparse(node)}"
        for file, tree in _trees()
        for node in ast.walk(tree)
        if _reaches_inside(node) and isinstance(node, ast.Attribute)
    ]
    assert found == []


def test_packages_used_by_a_private_name_have_an_upper_bound() -> None:
    """pip does not install a later release of such a package than the tests have seen."""
    required = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]
    bounded = {re.split(r"[^a-z0-9-]", text)[0] for text in required if "<" in text}
    assert {name.partition(".")[0] for name in PRIVATE} - sys.stdlib_module_names <= bounded
