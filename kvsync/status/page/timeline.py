"""Drift over time, as a chart and as table rows.

The drawing has columns of equal time. Each shows the most that was drifted at once within it, so that what was healed soon is
seen too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kvsync.model.change import Class
from kvsync.model.entry import Target
from kvsync.state import DriftPoint

COLUMNS: Final = 240
HEIGHT: Final = 100
"""The drawing's own units; it is stretched to where it stands."""

MOST_POINTS: Final = 40
"""Rows of the table."""

CLASSES: Final = (Class.DRIFTED.value, Class.MISSING.value, Class.CONFLICT.value)
"""From the bottom up."""

_SPANS: Final = (600.0, 3_600.0, 6 * 3_600.0, 86_400.0, 7 * 86_400.0, 30 * 86_400.0)

Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Area:
    """What represents one class: an SVG path."""

    cause: str
    path: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Drift from `since` until `until`, up to `most` entries at once, with the last changes newest first."""

    since: float
    until: float
    most: int
    areas: tuple[Area, ...]
    points: tuple[DriftPoint, ...]
    hidden: int

    @property
    def middle(self) -> float:
        """The moment in the middle."""
        return (self.since + self.until) / 2


def timeline(points: Sequence[DriftPoint], now: float) -> Timeline | None:
    """The drift of some targets until now; None when there never was any. The points are oldest first."""
    if not any(sum(point.counts.values()) for point in points):
        return None
    age = now - points[0].at
    length = next((span for span in _SPANS if span >= age), age)
    columns = _columns(points, now - length, length)
    most = max(sum(column.values()) for column in columns)
    areas = tuple(_areas(columns, max(most, 1)))
    last = tuple(reversed(points[-MOST_POINTS:]))
    return Timeline(now - length, now, most, areas, last, len(points) - len(last))


def _columns(points: Sequence[DriftPoint], since: float, length: float) -> list[Counts]:
    """The most that was drifted within each column."""
    standing: Counter[str] = Counter()
    by_target: dict[Target, Counts] = {}
    columns: list[Counts] = []
    for point in points:
        column = min(COLUMNS - 1, max(0, int((point.at - since) / length * COLUMNS)))
        columns.extend([dict(standing)] * (column + 1 - len(columns)))
        standing.subtract(by_target.get(point.target, {}))
        standing.update(point.counts)
        by_target[point.target] = point.counts
        if sum(standing.values()) >= sum(columns[-1].values()):
            columns[-1] = dict(standing)
    columns.extend([dict(standing)] * (COLUMNS - len(columns)))
    return columns


def _areas(columns: Sequence[Counts], most: int) -> Iterator[Area]:
    """The areas on top of each other, those that are empty left out."""
    below = [0] * COLUMNS
    for cause in CLASSES:
        above = [low + column.get(cause, 0) for low, column in zip(below, columns, strict=True)]
        if above != below:
            yield Area(cause, _path(above, below, most))
        below = above


def _path(above: Sequence[int], below: Sequence[int], most: int) -> str:
    """A closed path: along the upper edge, and back along the lower."""
    heights = [[round(HEIGHT * (1 - value / most), 1) for value in edge] for edge in (above, below)]
    there = [step for at, height in _steps(heights[0]) for step in (f"H{at}", f"V{height:g}")]
    back = [step for at, height in reversed(list(_steps(heights[1]))) for step in (f"V{height:g}", f"H{at}")]
    return f"M0 {HEIGHT}{''.join(there)}H{COLUMNS}{''.join(back)}Z"


def _steps(edge: Sequence[float]) -> Iterator[tuple[int, float]]:
    """Where an edge changes its height, and to what."""
    last: float | None = None
    for at, height in enumerate(edge):
        if height != last:
            yield at, height
            last = height
