"""Division of the work among replicas, as each leader records it next to its lease.

Replicas that do not share an owner, a number of shares or a lease do not hear of each other in an election: each leads its own.
So every leader records how it divides the work, and every replica reads the records next to its own.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Final, Protocol

from kvsync.errors import StoreError, TransientError
from kvsync.logs import get_logger
from kvsync.util.clock import Clock
from kvsync.util.values import dataclass

MOST: Final = 100
"""How many records are read."""

REFRESH_SECONDS: Final = 10.0
"""Seconds between two reads of the records of others."""

_TIMEOUT: Final = 5.0
_SHARE: Final = re.compile(r"-([0-9]{1,4})-of-([0-9]{1,4})\Z")
"""The end of the name of a lease where the work is divided."""

_log = get_logger()


@dataclass(frozen=True, slots=True)
class DivisionRecord:
    """How a leader divides the work: the lease that it holds, its owner, and a digest of the stores that it writes to."""

    lease: str
    leader: str
    owner: str
    stores: str

    @property
    def base(self) -> str:
        """The name of the lease without the share."""
        match = _SHARE.search(self.lease)
        return self.lease[: match.start()] if match else self.lease

    @property
    def share(self) -> tuple[int, int]:
        """Which share, of how many; (1, 1) where the work is not divided."""
        match = _SHARE.search(self.lease)
        return (int(match[1]), int(match[2])) if match else (1, 1)


class DivisionStore(Protocol):
    """Keeps the records next to a lease. The methods raise StoreError."""

    async def divisions(self) -> Sequence[DivisionRecord]:
        """The records of those that lead now."""
        ...

    async def record_division(self, mine: DivisionRecord) -> None:
        """Record how this replica divides the work, as long as it leads. Does nothing if it does not lead."""
        ...


def encoded_division(one: DivisionRecord) -> str:
    """A record as text."""
    return json.dumps(asdict(one), separators=(",", ":"))


def decoded_division(text: str) -> DivisionRecord | None:
    """The record in a text, None for any other text."""
    with suppress(ValueError, TypeError):
        return DivisionRecord(**{name: str(value) for name, value in json.loads(text).items()})
    return None


def leaders_of(mine: DivisionRecord, others: Sequence[DivisionRecord]) -> dict[str, str | None]:
    """Who leads each share, None for a share that no replica leads; nothing where the work is not divided."""
    count = mine.share[1]
    if count == 1:
        return {}
    found = {one.share: one.leader for one in others if one.base == mine.base}
    return {f"{index}/{count}": found.get((index, count)) for index in range(1, count + 1)}


def conflicts_of(mine: DivisionRecord, others: Sequence[DivisionRecord]) -> tuple[str, ...]:
    """What does not fit together, one sentence for each lease."""
    found = ((one, _conflict(mine, one)) for one in others)
    return tuple(f"lease {one.lease}: its leader {one.leader} {why}" for one, why in found if why is not None)


def _conflict(mine: DivisionRecord, one: DivisionRecord) -> str | None:
    if one.base == mine.base and one.owner != mine.owner:
        return (
            f"has the owner {one.owner}, this replica the owner {mine.owner}; give each owner a lease with its own name"
        )
    if one.base == mine.base and one.share[1] != mine.share[1]:
        shares = f"divides the targets into {one.share[1]} shares, this replica into {mine.share[1]}"
        return f"{shares}; stop the replicas with the old number of shares"
    if one.base != mine.base and (one.owner, one.stores) == (mine.owner, mine.stores):
        return f"writes to the same stores for the owner {one.owner} as the replicas of the lease {mine.base}; use one lease"
    return None


class DivisionWatch:
    """Records how this replica divides the work, and compares it with what others recorded."""

    def __init__(self, store: DivisionStore, mine: DivisionRecord, clock: Clock) -> None:
        self._store, self._mine, self._clock = store, mine, clock
        self.leaders: Mapping[str, str | None] = {}
        """Who leads each share; nothing while that is not known."""
        self.conflicts: tuple[str, ...] = ()
        """What does not fit together, for people."""
        self.changed: Callable[[], None] = lambda: None
        """Called when any of the two changed."""
        self._is_failing = False

    async def run(self, leads: Callable[[], bool]) -> None:
        """Refresh at an interval until cancelled."""
        while True:
            before = self.leaders, self.conflicts
            await self.refresh(leads=leads())
            if before != (self.leaders, self.conflicts):
                self.changed()
            await self._clock.sleep(REFRESH_SECONDS)

    async def refresh(self, *, leads: bool) -> None:
        """Read the records of all leaders once, and record its own while it `leads`. Raises nothing."""
        try:
            async with asyncio.timeout(_TIMEOUT):
                others = await self._store.divisions()
                if leads and self._mine not in others:
                    await self._store.record_division(self._mine)
                    others = await self._store.divisions()
        except (StoreError, TimeoutError) as error:
            late = TransientError(f"no response within {_TIMEOUT:g} s")
            self._failed(error if isinstance(error, StoreError) else late)
        else:
            self._compare(others)

    def _compare(self, others: Sequence[DivisionRecord]) -> None:
        before, self.conflicts = self.conflicts, conflicts_of(self._mine, others)
        self.leaders, self._is_failing = leaders_of(self._mine, others), False
        for problem in self.conflicts:
            if problem not in before:
                _log.warning("lease.conflict", lease=self._mine.lease, problem=problem)

    def _failed(self, error: StoreError) -> None:
        """Say it once until the next answer. Missing permissions stop nothing: an earlier version needed none for this."""
        self.leaders, self.conflicts = {}, ()
        if not self._is_failing:
            _log.warning("division.unknown", lease=self._mine.lease, error=str(error), code=error.code)
        self._is_failing = True
