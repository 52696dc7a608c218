"""Checks of `after`: every key that an entry waits for exists, and no two entries wait for each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Final

from kvsync.desired.model import DocumentRows
from kvsync.desired.views import TargetRows
from kvsync.errors import Kind, Problem
from kvsync.yaml.problems import name_hint, quoted

_Ordered = Mapping[int, tuple[tuple[str, ...], bool]]
"""The keys that a row of the target is written after, and whether it is written last."""

_NOTHING: Final[tuple[tuple[str, ...], bool]] = ((), False)
_MOST_HINTS: Final = 10
"""Names for which the nearest is looked for: it costs more than all else."""


def order_problems(
    chunks: Sequence[DocumentRows], rows: TargetRows, may_have: Callable[[str], bool]
) -> Iterator[Problem]:
    """What is wrong with the order that the files of one target ask for. `may_have` is true for keys that are not in `rows`
    because of other problems."""
    ordered = dict(_ordered(chunks, rows))
    if not ordered:
        return
    by_key: defaultdict[str, list[int]] = defaultdict(list)
    for row, identity in enumerate(rows.identities()):
        by_key[identity.key].append(row)
    yield from _missing(ordered, by_key, rows, may_have)
    yield from _cycle(ordered, by_key, rows)
    yield from _moved(chunks, ordered, by_key)


def _ordered(chunks: Sequence[DocumentRows], rows: TargetRows) -> Iterator[tuple[int, tuple[tuple[str, ...], bool]]]:
    for start, chunk in zip(rows.starts, chunks, strict=False):
        asks = [(shape.after, shape.after_all) for shape in chunk.rows.table]
        if any(after or is_last for after, is_last in asks):
            yield from (
                (start + number, asks[place])
                for number, place in enumerate(chunk.rows.shapes)
                if asks[place] != ((), False)
            )


def _missing(
    ordered: _Ordered, by_key: Mapping[str, list[int]], rows: TargetRows, may_have: Callable[[str], bool]
) -> Iterator[Problem]:
    last = {key for key, its_rows in by_key.items() if any(ordered.get(row, _NOTHING)[1] for row in its_rows)}
    hints = iter(range(_MOST_HINTS))
    for row, (after, is_last) in ordered.items():
        for key in after:
            if key not in by_key:
                if may_have(key):
                    continue
                message = f"after: {quoted(key)} is not among the keys of {rows.chunks[0].target}"
                hint = None if next(hints, None) is None else name_hint(key, by_key)
                yield Problem(message, rows.origin(row), hint, Kind.CONTRADICTION)
            elif not is_last and key in last:
                message = f"after: {quoted(key)} is written after everything else, and so after this entry, too"
                hint = f"remove it from this list, or remove after: all from {quoted(key)}"
                yield Problem(message, rows.origin(row), hint, Kind.CONTRADICTION)


def _cycle(ordered: _Ordered, by_key: Mapping[str, list[int]], rows: TargetRows) -> Iterator[Problem]:
    sorter: TopologicalSorter[str] = TopologicalSorter()
    first: dict[str, int] = {}
    for key, its_rows in by_key.items():
        for row in its_rows:
            after = ordered.get(row, _NOTHING)[0]
            if after:
                first.setdefault(key, row)
                sorter.add(key, *after)
    try:
        sorter.prepare()
    except CycleError as error:
        keys = error.args[1][::-1]
        shown = " after ".join(map(quoted, keys[:10])) + (" after …" if len(keys) > 10 else "")
        message = f"after: these entries wait for each other: {shown}"
        yield Problem(message, rows.origin(first[keys[0]]), "remove one of them", Kind.CONTRADICTION)


def _moved(chunks: Sequence[DocumentRows], ordered: _Ordered, by_key: Mapping[str, list[int]]) -> Iterator[Problem]:
    between = (
        move for chunk in chunks for move in chunk.moved if move.source_target is move.destination_target is None
    )
    for move in between:
        if any(ordered.get(row, _NOTHING)[1] for row in by_key.get(move.destination, ())):
            message = f"{quoted(move.destination)} is written after everything else, and so after {quoted(move.source)} is gone"
            hint = "remove this line, so that the old key is deleted first, or remove after: all"
            yield Problem(message, move.origin, hint, Kind.CONTRADICTION)
