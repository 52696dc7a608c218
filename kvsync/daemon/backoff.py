"""Retry delay of a failing target."""

from __future__ import annotations

from random import Random

BASE = 1.0
CAP = 300.0
"""Seconds: the first and the longest back-off."""


class Backoff:
    """Exponential back-off with full jitter: up to 1 s after the first failure, doubling up to 5 minutes."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._failures = 0

    def fail(self, retry_after: float | None = None) -> float:
        """Count one failure that time may heal. Returns the seconds to wait, never less than `retry_after`."""
        self._failures += 1
        longest = min(CAP, BASE * 2 ** min(self._failures - 1, 32))
        return (retry_after or 0) + self._rng.uniform(0, longest)

    def give_up(self) -> float:
        """Count one failure that time alone will not heal. Returns the seconds to wait: near the cap at once."""
        self._failures += 1
        return self._rng.uniform(CAP / 2, CAP)

    def reset(self) -> None:
        """Forget the failures."""
        self._failures = 0
