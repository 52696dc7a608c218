"""Detects targets whose keys can have the same remote keys.

namespace app:      sub:y  ──┐
                             ├── app:sub:y        both would write it, and each undo the other
namespace app:sub:  y      ──┘
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from kvsync.desired.model import DocumentRows
from kvsync.desired.views import TargetRows
from kvsync.errors import Kind, Problem
from kvsync.model.entry import Identity, Target, brief
from kvsync.util.escaping import clip_name

NestedIn = Callable[[Target, Identity], str | None]
"""Gives the other managed namespace that an entry of a target belongs to, None for all that are the target's own."""


class KeyConflict(NamedTuple):
    """A problem, and the targets that must not be changed because of it."""

    problem: Problem
    targets: tuple[Target, ...]


class _Row(NamedTuple):
    target: Target
    rows: TargetRows
    number: int
    identity: Identity

    def __str__(self) -> str:
        return f"{self.target}: {brief(self.identity)}"


def find_key_conflicts(
    group: Mapping[Target, Sequence[DocumentRows]], nested_namespace: NestedIn
) -> Iterator[KeyConflict]:
    """Entries of different targets that are one remote key, and entries that another target would take for its own. Takes time
    in proportion to the number of entries."""
    first: dict[str, _Row] = {}
    for target in sorted(group, key=_inner_first):
        rows = TargetRows(group[target])
        for number, (identity, name) in enumerate(zip(rows.identities(), rows.remote_names(), strict=True)):
            row = _Row(target, rows, number, identity)
            other = first.setdefault(name, row)
            if other.target != target:
                yield _one_key(row, other, name, nested_namespace(target, identity))
            elif (inner := nested_namespace(target, identity)) is not None:
                yield _within(row, inner)


def _inner_first(target: Target) -> tuple[int, Target]:
    """Sort key that has a namespace before those it is a part of: an entry of an outer one is then compared with its twin."""
    return -len(target.namespace), target


def _one_key(row: _Row, other: _Row, name: str, inner: str | None) -> KeyConflict:
    """One of two entries that are one key is at fault where it lies in the namespace of the other: otherwise whoever manages a
    namespace could stop the ones in it. `inner` is the namespace that the first belongs to."""
    where = other.rows.origin(other.number)
    shown = name.partition("\0")[0]
    is_within = Target(row.target.store, inner) == other.target if inner is not None else False
    held = (row.target,) if is_within else (row.target, other.target)
    why = f", which is in the namespace of {other.target}" if is_within else ""
    message = f'{row} and {other} ({where}) have the same remote key, "{clip_name(shown)}"{why}; {_held(held)}'
    hint = "remove it here" if is_within else "remove one of them"
    return KeyConflict(Problem(message, row.rows.origin(row.number), hint, kind=Kind.CONTRADICTION), held)


def _held(targets: Sequence[Target]) -> str:
    names = " and ".join(map(str, targets))
    return f"{names} {'is' if len(targets) == 1 else 'are'} left unchanged"


def _within(row: _Row, inner: str) -> KeyConflict:
    message = f'{row} belongs to the namespace "{inner}", which kvsync also manages; {_held([row.target])}'
    problem = Problem(message, row.rows.origin(row.number), "define it there", kind=Kind.CONTRADICTION)
    return KeyConflict(problem, (row.target,))
