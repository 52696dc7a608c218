"""Request quota over a time window, which slows down when the server reports that little is left."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from kvsync.model.budget import BudgetTerms
from kvsync.util.clock import Clock
from kvsync.util.waits import WAITS

_MARGIN: Final = 1.0
"""Seconds added to the window, because requests are counted when they arrive and not when they are sent."""

_NEAR: Final = 0.1
"""Share of the quota below which the rest is spread over the remaining time."""

_LIMIT: Final = re.compile(r"(?:^|,)[^;,]*((?:;[^;,]*)*)")
_PARAMETER: Final = re.compile(r";\s*([rt])\s*=\s*(\d{1,12})(?!\d)", re.ASCII)


class RemainingQuota(NamedTuple):
    """What is left according to the server: so many requests in so many seconds."""

    calls: int
    seconds: int


class Quota:
    """At most `most` requests in any `seconds`; all clients with one allowance share one of these. Callers wait in the order in
    which they came."""

    def __init__(self, most: int, seconds: float, clock: Clock) -> None:
        self._most, self._seconds, self._clock = most, seconds + _MARGIN, clock
        self.terms = BudgetTerms.of_window(most, self._seconds)
        self._turns: deque[float] = deque(maxlen=most)
        self._interval, self._slow_until = 0.0, 0.0
        self.reported: RemainingQuota | None = None
        """What the server reported last."""

    async def take(self) -> None:
        """Wait for a turn."""
        now = self._clock.monotonic()
        turn = max(now, self._next_turn(now))
        self._turns.append(turn)
        if turn > now:
            with WAITS.shown("the rate limit", turn, self._clock):
                await self._clock.sleep(turn - now)

    def observe(self, headers: Mapping[str, str]) -> None:
        """Adapt to a header `Ratelimit: "name";r=50;t=30` (names of headers in lower case)."""
        reported = min(_parsed(headers.get("ratelimit", "")), default=None)
        if reported is None:
            return
        self.reported = reported
        is_near = reported.calls < self._most * _NEAR
        seconds = min(reported.seconds, self._seconds)  # an allowance cannot take longer to be whole again
        self._interval = seconds / max(reported.calls, 1) if is_near else 0.0
        self._slow_until = self._clock.monotonic() + seconds

    @property
    def left(self) -> int:
        """How many requests can be sent at once."""
        since = self._clock.monotonic() - self._seconds
        return self._most - sum(turn > since for turn in self._turns)

    @property
    def known_left(self) -> int:
        """How many requests are left: by our own count, and by the server's last report while that is valid."""
        if self.reported is None or self._clock.monotonic() >= self._slow_until:
            return self.left
        return min(self.left, self.reported.calls)

    def _next_turn(self, now: float) -> float:
        if not self._turns:
            return now
        last = self._turns[-1]
        slow = min(last + self._interval, self._slow_until) if self._slow_until > now else now
        full = self._turns[0] + self._seconds if len(self._turns) == self._most else now
        return max(last, slow, full)


def _parsed(text: str) -> Iterator[RemainingQuota]:
    for limit in _LIMIT.finditer(text):
        found = dict(_PARAMETER.findall(limit[1]))
        if len(found) == 2:
            yield RemainingQuota(int(found["r"]), int(found["t"]))
