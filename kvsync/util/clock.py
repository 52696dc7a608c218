"""Clock interface, replaceable in tests."""

from __future__ import annotations

import asyncio
import time
from typing import Final

_STEADY: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Which of the system's clocks is used: one that goes on while the machine sleeps, or a lease would outlive the sleep."""


class Clock:
    """The system's clock. Tests use `kvsync.testing.FakeClock`, which moves only when told to."""

    def now(self) -> float:
        """Wall-clock time in seconds since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never go back, and go on while the machine sleeps where it can tell."""
        return time.clock_gettime(_STEADY)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
