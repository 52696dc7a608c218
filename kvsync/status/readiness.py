"""Readiness of the daemon: whether its passes come and end, by the monotonic clock."""

from __future__ import annotations

from typing import Final

from kvsync.model.entry import Target
from kvsync.util.clock import Clock

PATIENCE: Final = 1800.0
"""Seconds that a pass may be due, or run, without any pass ending. After that nothing happens any more: a store may ask for a
rest of 15 minutes at most."""


class PassWatch:
    """Notices when passes are due and none ends. One target that hangs does not count while others end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ended_at = clock.monotonic()
        self._due_at: float | None = None
        self._running: dict[Target, float] = {}

    def scheduled(self, next_tick: float | None) -> None:
        """Note when passes of all targets are due next (epoch seconds), None when never."""
        left = None if next_tick is None else max(next_tick - self._clock.now(), 0)
        self._due_at = None if left is None else self._clock.monotonic() + left

    def started(self, target: Target) -> None:
        """Note that a pass begins."""
        self._running[target] = self._clock.monotonic()

    def ended(self, target: Target) -> None:
        """Note that a pass is over."""
        self._running.pop(target, None)
        self._ended_at = self._clock.monotonic()

    def keep(self, targets: frozenset[Target]) -> None:
        """Forget all targets but these. Without any, nothing is due."""
        self._running = {target: at for target, at in self._running.items() if target in targets}

    def is_stuck(self, *, has_targets: bool) -> bool:
        """True when nothing happens any more although it should."""
        waits = list(self._running.values())
        if self._due_at is not None and has_targets:
            waits.append(self._due_at)
        now = self._clock.monotonic()
        return bool(waits) and now - max(min(waits), self._ended_at) > PATIENCE
