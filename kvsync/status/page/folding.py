"""Folds long plans by class and common prefix of the keys, and splits short differences into two sides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kvsync.status.plan_views import PendingPlan, PendingRow, PendingRowKind

FEW: Final = 20
"""Rows up to which a plan is shown without folds."""

_SMALL: Final = 4
"""Rows of a prefix from which on it has a fold of its own."""

_TEXT: Final = r'(?:"(?:[^"\\]|\\.)*"…?|\([^()]*\))'
_SIDES: Final = re.compile(rf"({_TEXT}) -> ({_TEXT})")
_SEPARATORS: Final = re.compile(r"[/:._]")


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows that are shown together; without a name they are all there is."""

    name: str
    rows: tuple[PendingRow, ...]


def folds(plan: PendingPlan) -> list[RowGroup]:
    """The rows of a plan, in folds where there are many: by class, and within it by prefix."""
    if len(plan.rows) <= FEW:
        return [RowGroup("", plan.rows)]
    by_class: dict[str, list[PendingRow]] = {}
    for row in plan.rows:
        by_class.setdefault(_class_of(row), []).append(row)
    return [fold for name, rows in by_class.items() for fold in _by_prefix(name, rows)]


def sides(row: PendingRow) -> tuple[str, str] | None:
    """The old and the new value of an update whose difference fits in one line, escaped as they are."""
    if row.kind is PendingRowKind.REFUSED or not row.notes:
        return None
    found = _SIDES.fullmatch(row.notes[0])
    return None if found is None else (found[1], found[2])


def _class_of(row: PendingRow) -> str:
    kinds = {PendingRowKind.REFUSED: ", refused", PendingRowKind.REPORTED: ", reported only"}
    return f"{row.cause}, {row.action}{kinds.get(row.kind, '')}"


def _by_prefix(name: str, rows: Sequence[PendingRow]) -> list[RowGroup]:
    by_prefix: dict[str, list[PendingRow]] = {}
    for row in rows:
        by_prefix.setdefault(_prefix(row.name), []).append(row)
    large = {prefix: found for prefix, found in by_prefix.items() if prefix and len(found) >= _SMALL}
    if len(large) == 1 and len(next(iter(large.values()))) == len(rows):
        return [RowGroup(f"{name}: {next(iter(large))}…", tuple(rows))]
    rest = tuple(row for row in rows if _prefix(row.name) not in large)
    named = [RowGroup(f"{name}: {prefix}…", tuple(found)) for prefix, found in large.items()]
    return [*([RowGroup(name, rest)] if rest else []), *named]


def _prefix(key: str) -> str:
    """A key up to its first separator; empty where it has none."""
    found = _SEPARATORS.search(key, 1)
    return "" if found is None else key[: found.end()]
