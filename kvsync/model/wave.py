"""Position of a target in the waves, as a plan shows it."""

from __future__ import annotations

from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class WavePosition:
    """Which wave a target is in, of how many. `waits_for` says what its changes wait for, None if they need not wait, and
    `until` (epoch seconds) is when the wait ends, if only time is missing."""

    number: int
    total: int
    waits_for: str | None = None
    until: float | None = None
