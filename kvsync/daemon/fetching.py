"""Schedule of Git fetches: at the start, at an interval, and on request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from kvsync.daemon.ports import FetchedSource
from kvsync.daemon.waiting import wait_until
from kvsync.errors import KvsyncError
from kvsync.logs import get_logger
from kvsync.util.backoff import Backoff
from kvsync.util.clock import Clock
from kvsync.util.shortage import code_of

PATIENCE = 10.0
"""Seconds that the first pass waits for the first fetch; then it goes on with what was fetched before."""

MIN_GAP = 1.0
"""Seconds between two fetches at least, however often one is asked for."""

_SPREAD = 0.1  # share of the interval, so that many daemons do not come at once

_log = get_logger()


class Fetcher:
    """Fetches, and calls `on_news` when there is a newer commit. Logs the first failure, and the recovery."""

    def __init__(self, remote: FetchedSource, clock: Clock, rng: Random, on_news: Callable[[], None]) -> None:
        self._remote, self._clock, self._rng, self._on_news = remote, clock, rng, on_news
        self._asked = asyncio.Event()
        self._backoff = Backoff(rng)
        self._first: asyncio.Future[bool] | None = None
        self._next: float | None = None  # on the monotonic clock
        self._said: str | None = None
        self._failing_since = 0.0

    def ask(self) -> None:
        """Request a fetch. Requests that arrive during a fetch cause one more."""
        self._asked.set()

    async def begin(self, stop: asyncio.Event) -> None:
        """Start the first fetch; return when it is over, when it takes too long, or when `stop` is set."""
        if self._remote.fetch_every is None:
            return
        self._first = asyncio.ensure_future(self._fetch())
        others = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(self._clock.sleep(PATIENCE))
        try:
            await asyncio.wait((self._first, *others), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for other in others:
                other.cancel()

    async def run(self) -> None:
        """Fetch until cancelled."""
        if self._first is not None and not self._first.done():
            await self._first
            self._on_news()
        while True:
            await self._wait()
            if await self._fetch():
                self._on_news()

    async def finish_first(self) -> None:
        """End the first fetch, if it still goes on."""
        if self._first is not None:
            self._first.cancel()
            await asyncio.gather(self._first, return_exceptions=True)

    async def _wait(self) -> None:
        """Wait until a fetch is due or asked for, but not less than the gap."""
        began = self._clock.monotonic()
        await wait_until(self._asked, self._seconds_left, self._clock)
        gap = began + MIN_GAP - self._clock.monotonic()
        if gap > 0:
            await self._clock.sleep(gap)

    def _seconds_left(self) -> float | None:
        return None if self._next is None else self._next - self._clock.monotonic()

    async def _fetch(self) -> bool:
        """Fetch once, and plan the next time. Returns whether there is something new."""
        self._asked.clear()
        try:
            is_news = await self._remote.fetch()
        except Exception as error:  # noqa: BLE001 - no repository may take the daemon down
            delay = self._backoff.fail()
            self._failed(error, delay)
            self._next = self._clock.monotonic() + delay
            return False
        self._succeeded()
        self._next = self._regular()
        return is_news

    def _regular(self) -> float | None:
        every = self._remote.fetch_every
        return None if every is None else self._clock.monotonic() + every * self._rng.uniform(1 - _SPREAD, 1 + _SPREAD)

    def _failed(self, error: Exception, delay: float) -> None:
        expected = isinstance(error, KvsyncError)
        text = str(error) if expected else "unexpected"
        if text != self._said:
            fields = {"error": text, "code": code_of(error), "retry_in": round(delay, 1)}
            _log.error("source.unavailable", **fields, exc_info=not expected)
        if self._said is None:
            self._failing_since = self._clock.monotonic()
        self._said = text

    def _succeeded(self) -> None:
        self._backoff.reset()
        if self._said is not None:
            _log.info("source.available", seconds=round(self._clock.monotonic() - self._failing_since, 1))
            self._said = None
