"""Backoff with full jitter, retries, and an adaptive concurrency limit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

from kvsync.errors import TransientError
from kvsync.model.capabilities import Capabilities
from kvsync.util.backoff import BackoffPolicy
from kvsync.util.clock import Clock

SLICE = 0.25
"""Seconds between two looks at `stop` while waiting, so that leaving never waits for a store's long Retry-After."""

TICK = 0.001
"""The shortest wait in seconds: less may not move a clock at all, and would be waited forever."""

DOWN_AFTER = 8
"""Calls given up in a row, with no success between them, after which the store as a whole counts as down."""

START = 2
"""Calls in flight before anything is known of a store."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How stubborn to be with one call: at most `attempts` in `deadline` seconds, with waits of up to `base` seconds, doubled
    each time, never over `cap` unless the store asks for more."""

    attempts: int = 8
    deadline: float = 120
    base: float = 0.5
    cap: float = 30


class Stopped(Exception):
    """Someone asked to stop while a call waited for its next attempt."""


class Pace:
    """The calls in flight towards one store: doubled every round until the store first throttles, then one more every round,
    and halved whenever it throttles.

    Shared by everything that applies to the same store in one event loop.
    """

    def __init__(self, most: int) -> None:
        self.most = max(1, most)
        self._limit = float(min(START, self.most))
        self._is_starting = True
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._given_up = 0
        self.resume_at = 0.0

    @classmethod
    def of(cls, capabilities: Capabilities, concurrency: int | None = None) -> Pace:
        """The pace for a store: calls that carry many writes go one at a time, calls of one up to `concurrency` together (by
        default what the store declares)."""
        return cls(1 if capabilities.batch > 1 else concurrency or capabilities.concurrency)

    @property
    def limit(self) -> int:
        """How many calls may be in flight now."""
        return int(self._limit)

    @property
    def is_spent(self) -> bool:
        """True after a call was given up and until one succeeds: no use in being stubborn with the next."""
        return self._given_up > 0

    @property
    def is_down(self) -> bool:
        """True when so many calls in a row were given up that the store counts as unreachable."""
        return self._given_up >= DOWN_AFTER

    def succeeded(self) -> None:
        """A call came back well."""
        self._given_up = 0
        self._limit = min(self.most, self._limit + (1 if self._is_starting else 1 / self._limit))

    def throttled(self, resume_at: float) -> None:
        """A call was turned away; nobody sends again before `resume_at` (monotonic seconds)."""
        self._is_starting = False
        self._limit = max(1.0, self._limit / 2)
        self.resume_at = max(self.resume_at, resume_at)

    def gave_up(self) -> None:
        """A call was repeated until its patience ended."""
        self._given_up += 1

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one of the calls in flight; waits, first come first served, while there are as many as allowed."""
        await self._enter()
        try:
            yield
        finally:
            self._running -= 1
            self._wake()

    async def _enter(self) -> None:
        while self._running >= self.limit:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._wake()
                raise
        self._running += 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._running < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return


class RetryState:
    """How much longer one call is worth repeating. A success renews it."""

    def __init__(self, retry: RetryPolicy, pace: Pace, clock: Clock, rng: Random, stop: Callable[[], bool]) -> None:
        self._retry, self._pace, self._clock, self._rng, self._stop = retry, pace, clock, rng, stop
        self._policy = BackoffPolicy(retry.base, retry.cap)
        self._failures = 0
        self._began = 0.0

    def succeeded(self) -> None:
        """The store answered."""
        self._failures = 0
        self._pace.succeeded()

    async def wait(self, error: TransientError) -> None:
        """Wait before the next attempt. Raises `error` when it is time to give up, Stopped when asked to stop meanwhile."""
        now = self._clock.monotonic()
        if self._failures == 0:
            self._began = now
        self._failures += 1
        delay = self._policy.delay(self._failures, self._rng, error.retry_after)
        self._pace.throttled(now + (error.retry_after or 0))
        attempts = 1 if self._pace.is_spent else self._retry.attempts
        if self._failures >= attempts or now + delay > self._began + self._retry.deadline:
            self._pace.gave_up()
            raise error
        await self._sleep(now + delay)

    async def hold(self) -> None:
        """Wait while the store has told another call to, where it is worth it: a store that asks for a longer rest is asked
        once, by whoever has a reason to. Raises Stopped."""
        if self._pace.resume_at <= self._clock.monotonic() + self._retry.deadline:
            await self._sleep(self._pace.resume_at)

    def is_rest(self, error: TransientError) -> bool:
        """True when the store asks for a rest that is longer than anyone waits for one call."""
        return (error.retry_after or 0) > self._retry.deadline

    async def _sleep(self, until: float) -> None:
        while (left := until - self._clock.monotonic()) > 0:
            if self._stop():
                raise Stopped
            await self._clock.sleep(min(max(left, TICK), SLICE))
