"""Clock for tests, which moves only when a test advances it."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from kvsync.util.clock import Clock


class FakeClock(Clock):
    """A clock that starts at `start`, in seconds since the Unix epoch. `sleep` advances it and returns at once."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now, self._start, self._boot = start, start, uuid4().hex

    def now(self) -> float:
        """Return the current time of this clock."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds since this clock was created."""
        return self._now - self._start

    def boot(self) -> str:
        """Return an id that is different for each clock."""
        return self._boot

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back, without any time passing."""
        self._now += seconds
        self._start += seconds

    def advance(self, seconds: float) -> None:
        """Advance the time."""
        self._now += seconds

    async def sleep(self, seconds: float) -> None:
        """Advance the time, and let other tasks run."""
        self.advance(seconds)
        await asyncio.sleep(0)
