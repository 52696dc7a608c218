"""Histogram of pass durations."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import Final

from kvsync.status.snapshot import Histogram

BOUNDS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, float("inf"))
"""Seconds; the last bucket holds everything."""


class Durations:
    """Counts durations (seconds)."""

    def __init__(self) -> None:
        self._counts = [0] * len(BOUNDS)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._sum += seconds

    def histogram(self) -> Histogram:
        """What was counted so far."""
        return Histogram(tuple(zip(BOUNDS, accumulate(self._counts), strict=True)), self._sum)
