"""Clock interface, replaceable in tests."""

from __future__ import annotations

import time
from math import inf
from pathlib import Path
from typing import Final

_STEADY: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Which of the system's clocks is used: one that goes on while the machine sleeps, or a lease would outlive the sleep."""

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Clock:
    """The system's clock. Tests use `kvsync.testing.FakeClock`, which moves only when a test advances it."""

    def now(self) -> float:
        """Return the wall-clock time in seconds since the Unix epoch."""
        return time.time()

    def local(self) -> float:
        """Return the wall-clock time of this machine, even if `now` returns a more accurate one."""
        return self.now()

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start. They never go back, and continue while the machine sleeps if the system
        supports that."""
        return time.clock_gettime(_STEADY)

    def boot(self) -> str:
        """Return an id of the machine start that `monotonic` counts from; empty if it is not known. Clocks of different
        processes with the same id can be compared."""
        try:
            return _BOOT_ID.read_text().strip() if hasattr(time, "CLOCK_BOOTTIME") else ""
        except (OSError, ValueError):
            return ""

    async def sleep(self, seconds: float) -> None:
        """Wait for this many seconds."""
        import asyncio  # many who read clocks never wait

        await asyncio.sleep(seconds)


SMALLEST_SKEW: Final = 5.0
"""Seconds that this machine's clock must be off for a server's to count: what a server says is exact to a second or two."""


class StoreClock(Clock):
    """The time of one store: this machine's, unless the store's server says that it is wrong.

    Lifetimes end by it, so that a wall clock which is set by hours or days ends none early, and none late. Answers are compared
    by the monotonic clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._least, self._most = -inf, inf  # of what the server's clock is ahead of the monotonic clock

    def set_from_server(self, moment: float, sent_at: float, received_at: float) -> None:
        """Use the time in a server's answer (epoch seconds, cut to whole ones). `sent_at` and `received_at` are those of the
        request and the answer (monotonic)."""
        least, most = moment - received_at, moment + 1 - sent_at
        if least > self._most or most < self._least:  # the server's clock was set
            self._least, self._most = least, most
        else:
            self._least, self._most = max(least, self._least), min(most, self._most)

    def now(self) -> float:
        """Wall-clock time in seconds since the Unix epoch, as the server has it where this machine is off."""
        here = self._clock.now()
        ahead = here - self._clock.monotonic()
        if self._least - SMALLEST_SKEW <= ahead <= self._most + SMALLEST_SKEW:
            return here
        return self._clock.monotonic() + (self._least + self._most) / 2

    def local(self) -> float:
        """Wall-clock time by this machine's own clock."""
        return self._clock.local()

    def monotonic(self) -> float:
        """As the clock it is made of."""
        return self._clock.monotonic()

    def boot(self) -> str:
        """As the clock it is made of."""
        return self._clock.boot()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._clock.sleep(seconds)
