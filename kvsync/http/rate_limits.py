"""Rate limit and retry limit of a client."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from kvsync.model.budget import BudgetTerms
from kvsync.util.clock import Clock
from kvsync.util.waits import WAITS

_Limiter = TypeVar("_Limiter")


class TokenBucket:
    """At most `rate` requests per second, after a first burst of `burst` seconds' worth. Callers wait in the order in which
    they came."""

    def __init__(self, rate: float, clock: Clock, burst: float = 1) -> None:
        self.terms = BudgetTerms.of_rate(rate)
        self._interval, self._burst = 1 / rate, max(0.0, burst - 1 / rate)
        self._clock = clock
        self._next = clock.monotonic() - self._burst

    async def take(self) -> None:
        """Wait for a turn."""
        now = self._clock.monotonic()
        turn = max(self._next, now - self._burst)
        self._next = turn + self._interval
        if turn > now:
            with WAITS.shown("the rate limit", turn, self._clock):
                await self._clock.sleep(turn - now)

    def change(self, rate: float) -> None:
        """Change the rate, in requests per second."""
        self._interval = 1 / rate


class RetryBudget:
    """Limits retries, so that they do not overload a server in trouble: successful requests earn them."""

    def __init__(self, reserve: float = 50, earned: float = 1) -> None:
        self._left = self._reserve = reserve
        self._earned = earned

    def record_success(self) -> None:
        """Count a successful request."""
        self._left = min(self._reserve, self._left + self._earned)

    def spend(self) -> bool:
        """Spend one retry; False if none is left."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


class SharedLimiters(Generic[_Limiter]):
    """Rate limiters that clients with the same key share, such as all stores of this process with one account. A limiter lives
    as long as a client holds it."""

    def __init__(self) -> None:
        self._held: WeakValueDictionary[Hashable, _Limiter] = WeakValueDictionary()

    def get(self, key: Hashable, make: Callable[[], _Limiter]) -> _Limiter:
        """The limiter with this key, made if there is none."""
        found = self._held.get(key)
        if found is None:
            self._held[key] = found = make()
        return found
