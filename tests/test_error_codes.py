"""Error codes: complete, unique, used, and never changed."""

from __future__ import annotations

import ast
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TypeGuard

from kvsync.errors import ErrorCode, Kind, KvsyncError
from kvsync.model.codes import AREAS, CATALOGUE

ROOT = Path(__file__).parent.parent
RECORDED = Path(__file__).parent / "recorded/error-codes.txt"
"""A line for each code that was ever released. Lines are added, and never changed or removed."""


def test_codes_keep_their_meaning() -> None:
    """Each code is recorded with its name, and no recorded code was renamed, renumbered or removed."""
    assert [f"{code} {code.name}" for code in ErrorCode] == RECORDED.read_text("utf-8").splitlines()


def test_every_code_is_described_once_in_order() -> None:
    """The catalogue has each code once, sorted, with a title, sentences for the cause, and sentences for the remedy."""
    described = [one.code for area in AREAS.values() for one in area]
    assert described == list(ErrorCode)
    assert all(one < other for one, other in pairwise(ErrorCode))
    for one in CATALOGUE.values():
        assert not one.title.endswith("."), one
        assert one.cause.endswith("."), one
        assert one.remedy.endswith("."), one


def sources() -> list[Path]:
    """The modules that may use a code; the catalogue only describes them."""
    return [file for file in (ROOT / "kvsync").rglob("*.py") if file.parent.name != "codes"]


def test_every_code_is_used() -> None:
    """Each code is named by an error class, by the kind of a problem, or where a result is made."""
    used = {node.attr for file in sources() for node in ast.walk(ast.parse(file.read_text("utf-8"))) if is_code(node)}
    assert {code.name for code in ErrorCode} - used - {kind.name for kind in Kind} == set()


def is_code(node: ast.AST) -> TypeGuard[ast.Attribute]:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ErrorCode"


def test_every_error_class_has_a_code_of_its_own_or_of_its_base() -> None:
    """No two error classes claim one code, unless one inherits it or both say that an entry cannot be read."""
    for file in sources():
        if "code = ErrorCode" in file.read_text("utf-8"):
            import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
    claimed: dict[ErrorCode, list[str]] = {}
    for error in descendants(KvsyncError):
        if "code" in vars(error):
            claimed.setdefault(error.code, []).append(error.__name__)
    assert {code: names for code, names in claimed.items() if len(names) > 1} == {
        ErrorCode.ENTRY_UNREADABLE: ["EntryUnreadable", "PartialRead"]
    }


def descendants(base: type[KvsyncError]) -> list[type[KvsyncError]]:
    return [base, *(found for child in base.__subclasses__() for found in descendants(child))]
