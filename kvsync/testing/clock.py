"""Clock for tests, which moves only when a test advances it."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from kvsync.util.clock import Clock


class FakeClock(Clock):
    """Starts at `start`, in seconds since the Unix epoch. `sleep` returns at once, and time has passed."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now, self._start, self._boot = start, start, uuid4().hex

    def now(self) -> float:
        """The moment it stands at."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since it was made."""
        return self._now - self._start

    def boot(self) -> str:
        """Another one for each clock."""
        return self._boot

    def step(self, seconds: float) -> None:
        """Set the wall clock forward, or back, while no time passes."""
        self._now += seconds
        self._start += seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds

    async def sleep(self, seconds: float) -> None:
        """Let time pass, and others have their turn."""
        self.advance(seconds)
        await asyncio.sleep(0)
