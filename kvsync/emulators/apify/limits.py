"""Rate limits per store and per user, in virtual time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from kvsync.emulators.apify.problems import too_fast

_PER_USER: Final = 250_000  # requests a minute
_MINUTE: Final = 60.0  # seconds
_SECOND: Final = 1.0
_REMEMBERED: Final = 10_000  # windows that are kept before those that have ended are forgotten


@dataclass(slots=True)
class _Window:
    """Requests in a period that began with the first of them."""

    length: float
    ends: float = -math.inf
    count: int = 0

    def admits(self, limit: int, now: float) -> bool:
        """Count one request, if it is one of those that are allowed."""
        if not now < self.ends <= now + self.length:  # virtual time may go back, too
            self.count, self.ends = 0, now + self.length
        if self.count >= limit:
            return False
        self.count += 1
        return True


class Rates:
    """Limits by resource; None means no limit."""

    def __init__(self, records: int | None, others: int | None) -> None:
        self._records, self._others = records, others
        self.reset()

    def reset(self) -> None:
        """Nothing was asked lately."""
        self._windows: dict[tuple[str, str], _Window] = {}

    def limit(self, *, record: bool) -> int | None:
        """Requests a second for one resource."""
        return self._records if record else self._others

    def spend(self, user: str, resource: str, now: float, *, record: bool) -> None:
        """Count one request. Raises Refused (429) when there were too many."""
        limit = self.limit(record=record)
        if limit is None:
            return
        if len(self._windows) > _REMEMBERED:
            self._windows = {key: window for key, window in self._windows.items() if now < window.ends}
        kind = "record" if record else "other"
        if not self._windows.setdefault((kind, resource), _Window(_SECOND)).admits(limit, now):
            raise too_fast(limit)
        if not self._windows.setdefault(("user", user), _Window(_MINUTE)).admits(_PER_USER, now):
            raise too_fast(_PER_USER, "minute")
