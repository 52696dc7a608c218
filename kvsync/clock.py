"""Time as something that can be handed in, so that tests never wait."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """The system's clock. Tests use `kvsync.testing.FakeClock`, which moves only when told to."""

    def now(self) -> float:
        """Wall-clock time in seconds since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
