"""Limits of a pricing tier: requests per period and per second, and stored bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kvsync.emulators.azure.problems import Refused, throttled

_HOUR, _DAY = 3600.0, 86400.0


@dataclass(frozen=True, slots=True)
class Tier:
    """Limits; None is none. `period` and the retentions are in seconds, storage in bytes."""

    requests: int | None = None
    period: float = _HOUR
    reads: float | None = None
    writes: float | None = None
    storage: int | None = None
    revisions: float = 30 * _DAY
    snapshots: float = 90 * _DAY


TIERS: Final = {
    "none": Tier(),
    "free": Tier(1_000, _DAY, storage=10_000_000, revisions=7 * _DAY, snapshots=7 * _DAY),
    "developer": Tier(6_000, storage=500_000_000, revisions=7 * _DAY, snapshots=7 * _DAY),
    "standard": Tier(30_000, reads=300, writes=60, storage=1_000_000_000),
    "premium": Tier(reads=450, writes=100, storage=4_000_000_000),
}


class Quota:
    """Counts requests against a tier, in virtual time."""

    def __init__(self, tier: Tier) -> None:
        self.tier = tier
        self.reset()

    def reset(self) -> None:
        """Nothing is spent."""
        self._period = self._second = -1.0
        self._spent = 0
        self._reads = self._writes = 0

    def spend(self, now: float, *, writes: bool) -> None:
        """Count one request. Raises Refused (429) when there is no more; `now` is in seconds since the Unix epoch."""
        tier = self.tier
        if now // tier.period != self._period:
            self._period, self._spent = now // tier.period, 0
        if now // 1 != self._second:
            self._second, self._reads, self._writes = now // 1, 0, 0
        self._spent += 1
        self._writes += writes
        self._reads += not writes
        if tier.requests is not None and self._spent > tier.requests:
            raise _until_next(now, tier.period)
        rate, used = (tier.writes, self._writes) if writes else (tier.reads, self._reads)
        if rate is not None and used > rate:
            raise _until_next(now, 1.0)

    def check_storage(self, stored: int) -> None:
        """Raises Refused (429) when this many bytes are too many; waiting does not cure that."""
        if self.tier.storage is not None and stored > self.tier.storage:
            raise throttled("Storage", 10.0)


def _until_next(now: float, period: float) -> Refused:
    return throttled("Total Requests", period - now % period)
