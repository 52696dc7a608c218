"""Counts of failing, parked and pending targets, by the last pass of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Final

from kvsync.model.entry import Target
from kvsync.model.result import PassResult

_SHOWN: Final = ("failing", "parked", "with changes pending")


class PassCounts:
    """The counts, kept up to date by each pass: that costs the same for any number of targets."""

    def __init__(self) -> None:
        self._marks: dict[Target, tuple[str, ...]] = {}
        self._counts: Counter[str] = Counter()

    def add(self, result: PassResult) -> None:
        """Count a pass, in place of the one before of its target."""
        self._counts.subtract(self._marks.get(result.target, ()))
        self._marks[result.target] = marks = tuple(_marks(result))
        self._counts.update(marks)

    def keep(self, targets: Collection[Target]) -> tuple[Target, ...]:
        """Forget all targets but these; returns the forgotten ones."""
        gone = tuple(target for target in self._marks if target not in targets)
        for target in gone:
            self._counts.subtract(self._marks.pop(target))
        return gone

    def __str__(self) -> str:
        counts = (f"{self._counts[name]} {name}" for name in _SHOWN if self._counts[name])
        return ", ".join((f"{len(self._marks)} targets", *counts))


def _marks(result: PassResult) -> Iterator[str]:
    if not result.ok:
        yield "failing"
    if result.parked:
        yield "parked"
    elif result.pending and result.ok:
        yield "with changes pending"
