"""Backoff with full jitter, retries, and an adaptive concurrency limit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from kvsync.errors import TransientError
from kvsync.model.capabilities import Capabilities
from kvsync.util.backoff import BackoffPolicy
from kvsync.util.clock import Clock
from kvsync.util.shortage import shortage_of
from kvsync.util.values import dataclass
from kvsync.util.waits import WAITS, reason_after

if TYPE_CHECKING:
    from random import Random

SLICE = 0.25
"""Seconds between two checks of `stop` while waiting, so that stopping never waits for a long Retry-After."""

TICK = 0.001
"""The shortest wait in seconds: less may not move a clock at all, and would never end."""

DOWN_AFTER = 8
"""Failed calls in a row after which the whole store counts as down."""

ATTEMPTS_IN_SHORTAGE = 3
"""Attempts of one call while this machine has too little memory, descriptors or threads for it: the next pass tries again."""

START = 4
"""Calls in flight before anything is known about a store."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Retries of one call: at most `attempts` in `deadline` seconds, with waits of up to `base` seconds that double each time,
    never above `cap` unless the store asks for more."""

    attempts: int = 8
    deadline: float = 120
    base: float = 0.5
    cap: float = 30


class Stopped(Exception):
    """kvsync was asked to stop while a call waited for its next attempt."""


class ConcurrencyLimiter:
    """Limits the calls in flight to one store. The limit triples every round until the store first throttles, then grows by one
    every round, and is halved whenever the store throttles.

    All appliers of the same store in one event loop share it.
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
    def of(cls, capabilities: Capabilities, concurrency: int | None = None) -> ConcurrencyLimiter:
        """The pace for a store: calls that carry many writes are sent one at a time, calls of one write up to `concurrency`
        together (by default what the store declares)."""
        return cls(1 if capabilities.batch > 1 else concurrency or capabilities.concurrency)

    @property
    def limit(self) -> int:
        """How many calls may be in flight now."""
        return int(self._limit)

    @property
    def is_spent(self) -> bool:
        """True after a call failed for good, until one succeeds: the next call is not retried."""
        return self._given_up > 0

    @property
    def is_down(self) -> bool:
        """True if so many calls in a row failed that the store counts as unreachable."""
        return self._given_up >= DOWN_AFTER

    def succeeded(self) -> None:
        """Count a successful call."""
        self._given_up = 0
        self._limit = min(self.most, self._limit + (2 if self._is_starting else 1 / self._limit))

    def throttled(self, resume_at: float) -> None:
        """Count a throttled call; nothing is sent before `resume_at` (monotonic seconds)."""
        self._is_starting = False
        self._limit = max(1.0, self._limit / 2)
        self.resume_at = max(self.resume_at, resume_at)

    def count_failure(self) -> None:
        """Count a call that failed after its last retry."""
        self._given_up += 1

    def slot(self) -> Slot:
        """Hold one of the calls in flight; waits in order while the limit is reached."""
        return Slot(self)

    async def enter(self) -> None:
        """Begin a call; waits in order while the limit is reached."""
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

    def leave(self) -> None:
        """End a call."""
        self._running -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._running < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return


class Slot:
    """One of the calls in flight, as a context. A class, because each call of a store enters one."""

    __slots__ = ("_limiter",)

    def __init__(self, limiter: ConcurrencyLimiter) -> None:
        self._limiter = limiter

    async def __aenter__(self) -> None:
        await self._limiter.enter()

    async def __aexit__(self, *_error: object) -> None:
        self._limiter.leave()


class RetryState:
    """The retries of one call. A success renews them."""

    def __init__(
        self, retry: RetryPolicy, pace: ConcurrencyLimiter, clock: Clock, rng: Random, stop: Callable[[], bool]
    ) -> None:
        self._retry, self._pace, self._clock, self._rng, self._stop = retry, pace, clock, rng, stop
        self._policy = BackoffPolicy(retry.base, retry.cap)
        self._failures = 0
        self._began = 0.0

    def succeeded(self) -> None:
        """Count a response of the store."""
        self._failures = 0
        self._pace.succeeded()

    async def wait(self, error: TransientError) -> None:
        """Wait before the next attempt. Raises `error` if there are no retries left, Stopped if asked to stop in the
        meantime."""
        now = self._clock.monotonic()
        if self._failures == 0:
            self._began = now
        self._failures += 1
        delay = self._policy.delay(self._failures, self._rng, error.retry_after)
        self._pace.throttled(now + (error.retry_after or 0))
        if self._failures >= self._attempts(error) or now + delay > self._began + self._retry.deadline:
            self._pace.count_failure()
            raise error
        with WAITS.shown(reason_after(error.retry_after), now + delay, self._clock):
            await self._sleep(now + delay)

    def _attempts(self, error: TransientError) -> int:
        if self._pace.is_spent:
            return 1
        return self._retry.attempts if shortage_of(error) is None else ATTEMPTS_IN_SHORTAGE

    async def pause(self, seconds: float, reason: str) -> None:
        """Wait, for what `reason` names. Raises Stopped."""
        until = self._clock.monotonic() + seconds
        with WAITS.shown(reason, until, self._clock):
            await self._sleep(until)

    async def hold(self) -> None:
        """Wait while the store has asked another call to wait, unless that is too long: a store that asks for a longer pause is
        only called with a reason. Raises Stopped."""
        now = self._clock.monotonic()
        if now < self._pace.resume_at <= now + self._retry.deadline:
            with WAITS.shown(reason_after(0), self._pace.resume_at, self._clock):
                await self._sleep(self._pace.resume_at)

    def is_rest(self, error: TransientError) -> bool:
        """True if the store asks for a pause that is longer than any call is retried."""
        return (error.retry_after or 0) > self._retry.deadline

    async def _sleep(self, until: float) -> None:
        while (left := until - self._clock.monotonic()) > 0:
            if self._stop():
                raise Stopped
            await self._clock.sleep(min(max(left, TICK), SLICE))
