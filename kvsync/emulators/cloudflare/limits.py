"""Rate limits: requests in total, writes per key, and daily operations of the free plan. In virtual time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from typing import Final

from kvsync.emulators.cloudflare.envelope import Refused, refused

_SLOW_DOWN: Final = "Please wait and consider throttling your request speed"
_DAY: Final = 86_400
_FREE: Final = {"write": 1_000, "delete": 1_000, "list": 1_000, "read": 100_000}
_PACE: Final = 1.0  # seconds between two writes of one key


class Budget:
    """So many requests in a period; who exceeds it is refused everything for a period. None means no limit."""

    def __init__(self, requests: int | None, period: float) -> None:
        self._requests, self._period = requests, period
        self.reset()

    def reset(self) -> None:
        """Nothing is spent."""
        self._spent, self._ends, self._blocked = 0, -math.inf, False

    def spend(self, now: float) -> None:
        """Count one request. Raises Refused (429) when there is no more."""
        if self._requests is None:
            return
        self._renew(now)
        self._spent += 1
        if self._spent > self._requests:
            if not self._blocked:
                self._blocked, self._ends = True, now + self._period
            raise throttled(self._ends - now)

    def headers(self, now: float) -> dict[str, str]:
        """What is left, as every answer reports it."""
        if self._requests is None:
            return {}
        self._renew(now)
        left = max(0, self._requests - self._spent)
        return {
            "Ratelimit": f'"default";r={left};t={_whole(self._ends - now)}',
            "Ratelimit-Policy": f'"default";q={self._requests};w={_whole(self._period)}',
        }

    def _renew(self, now: float) -> None:
        if not now < self._ends <= now + self._period:  # virtual time may go back, too
            self._spent, self._ends, self._blocked = 0, now + self._period, False


class KeyWriteLimit:
    """One write a second for each key, where `kept`."""

    def __init__(self, *, kept: bool) -> None:
        self._kept = kept
        self._last: dict[tuple[str, str], float] = {}

    def reset(self) -> None:
        """Nothing was written lately."""
        self._last.clear()

    def too_fast(self, namespace: str, names: Collection[str], now: float) -> frozenset[str]:
        """Those keys that were written less than a second ago; the others count as written now."""
        if not self._kept:
            return frozenset()
        self._last = {slot: at for slot, at in self._last.items() if 0 <= now - at < _PACE}
        hasty = frozenset(name for name in names if (namespace, name) in self._last)
        self._last |= {(namespace, name): now for name in names if name not in hasty}
        return hasty


class Plan:
    """Operations a day: each pair of a bulk call is one. Days are those of UTC."""

    def __init__(self, *, free: bool) -> None:
        self._free = free
        self.reset()

    def reset(self) -> None:
        """Nothing is spent."""
        self._day = -1
        self._spent: Counter[str] = Counter()

    def spend(self, kind: str, count: int, now: float) -> None:
        """Count operations: `write`, `delete`, `list` or `read`. Raises Refused (429) when there are not so many left."""
        if not self._free:
            return
        if now // _DAY != self._day:
            self._day, self._spent = int(now // _DAY), Counter()
        if self._spent[kind] + count > _FREE[kind]:
            text = "your account has reached the free usage limit for this operation for today"
            raise refused(429, 10048, text, Retry_After=str(_whole(_DAY - now % _DAY)))
        self._spent[kind] += count


def throttled(wait: float) -> Refused:
    """Refuse because of too many requests; `wait` is in seconds."""
    return refused(429, 971, _SLOW_DOWN, Retry_After=str(_whole(wait)))


def _whole(seconds: float) -> int:
    return max(0, math.ceil(seconds))
