"""Rate limit and retry limit of a client."""

from __future__ import annotations

from kvsync.util.clock import Clock


class TokenBucket:
    """At most `rate` calls a second, after a first burst of `burst` seconds' worth. Callers wait in the order in which they
    came."""

    def __init__(self, rate: float, clock: Clock, burst: float = 1) -> None:
        self._interval, self._burst = 1 / rate, max(0.0, burst - 1 / rate)
        self._clock = clock
        self._next = clock.monotonic() - self._burst

    async def take(self) -> None:
        """Wait for a turn."""
        now = self._clock.monotonic()
        turn = max(self._next, now - self._burst)
        self._next = turn + self._interval
        if turn > now:
            await self._clock.sleep(turn - now)

    def change(self, rate: float) -> None:
        """So many calls a second from now on."""
        self._interval = 1 / rate


class RetryBudget:
    """Keeps repetitions from drowning a server that is in trouble: they are paid for by the calls it does answer."""

    def __init__(self, reserve: float = 50, earned: float = 1) -> None:
        self._left = self._reserve = reserve
        self._earned = earned

    def earn(self) -> None:
        """A call was answered well."""
        self._left = min(self._reserve, self._left + self._earned)

    def spend(self) -> bool:
        """True when one more repetition is affordable; it is taken to be made."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
