"""Passes over time as bars: how many were made, and how many of them failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kvsync.status.snapshot import PassPoint

BARS: Final = 48

_HEIGHT: Final = 100.0


@dataclass(frozen=True, slots=True)
class PassBar:
    """One stretch of time: its place on the axis, how high its two parts are (of 100), and their numbers."""

    x: int
    ok: int
    failed: int
    ok_height: float
    failed_height: float


@dataclass(frozen=True, slots=True)
class PassBars:
    """The bars from `since` to now (epoch seconds), the most passes of one bar, and all numbers."""

    since: float
    bars: tuple[PassBar, ...]
    most: int
    ok: int
    failed: int


def bars(points: Sequence[PassPoint], now: float) -> PassBars | None:
    """The bars of these passes, None where there are fewer than two: no time has passed then."""
    if len(points) < 2 or points[0].at >= now:
        return None
    since = points[0].at
    width = (now - since) / BARS
    counts = [[0, 0] for _ in range(BARS)]
    for point in points:
        counts[min(max(int((point.at - since) / width), 0), BARS - 1)][not point.ok] += 1
    most = max(sum(pair) for pair in counts)
    made = tuple(
        PassBar(x, ok, failed, _HEIGHT * ok / most, _HEIGHT * failed / most) for x, (ok, failed) in enumerate(counts)
    )
    return PassBars(since, made, most, sum(bar.ok for bar in made), sum(bar.failed for bar in made))
