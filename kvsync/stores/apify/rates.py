"""Documented rate limits of the API per store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kvsync.http.rate_limits import TokenBucket
from kvsync.util.clock import Clock

RECORDS, OTHERS = 200, 60
"""Calls a second that the API takes for one store, unless its answers name another number."""

_SHARE: Final = 0.9
_BURST: Final = 0.1
"""Seconds' worth of calls that may go at once: with it and the share no second ever has more than the API takes."""

_MOST: Final = 100_000
"""A second; a number above counts something else than calls a second to one store."""

_DIGITS: Final = len(str(_MOST))


class Rate:
    """Turns for the calls of one kind to one store."""

    def __init__(self, most: int, clock: Clock) -> None:
        self.most = most
        self._bucket = TokenBucket(most * _SHARE, clock, _BURST)

    async def take(self) -> None:
        """Wait for a turn."""
        await self._bucket.take()

    def observe(self, headers: Mapping[str, str]) -> None:
        """Take in what an answer says in `X-RateLimit-Limit`."""
        told = headers.get("x-ratelimit-limit", "")
        is_number = told.isascii() and told.isdecimal() and len(told) <= _DIGITS
        if not (is_number and 0 < int(told) <= _MOST) or int(told) == self.most:
            return
        self.most = int(told)
        self._bucket.change(self.most * _SHARE)
