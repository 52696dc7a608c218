"""Claims and renews the lease while the replica runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Final

from kvsync.errors import KvsyncError, StoreError, TransientError
from kvsync.leader.division import DivisionWatch
from kvsync.leader.election import Election
from kvsync.leader.model import LeaseClaim, LeaseStore, Timing
from kvsync.logs import get_logger
from kvsync.state import LeaseRecord
from kvsync.util.clock import Clock
from kvsync.util.shortage import code_of

RELEASE_WITHIN: Final = 1.0
"""Seconds that releasing may take: whoever leaves does not wait for a store that does not answer."""

_SPREAD: Final = 0.2
"""The part of a pause that is left to chance, so that replicas do not all claim at the same moment."""

_TICK: Final = 0.01
"""Seconds; the shortest pause."""

_STALE_SECONDS: Final = 120.0
"""How long a leader may lack files that another replica applied: some replica has changed files first."""

_log = get_logger()


class Elector:
    """Claims the lease for one replica. The replica leads only while `seconds_left` is positive."""

    def __init__(self, store: LeaseStore, identity: str, timing: Timing, clock: Clock, rng: Random) -> None:
        self.identity = identity
        self._store, self._timing, self._clock, self._rng = store, timing, clock, rng
        self._election = Election(timing)
        self._again_in: float | None = None
        self._reported: tuple[bool, str | None] | None = None
        self._led_since = 0.0  # monotonic
        self._is_failing = False
        self.is_able: Callable[[], bool] = lambda: True
        """Whether this replica could work if it led. One that could not leaves the lease to others."""
        self.superseded_by: Callable[[], str | None] = lambda: None
        """The revision that another replica applied since, where the files of this one are older."""
        self.division: DivisionWatch | None = None
        """Compares how replicas divide the work."""
        self.problem: str | None = None
        """Why the lease never ends."""
        self._current_at = clock.monotonic()
        self._left_for: str | None = None
        self._stays_away_until = 0.0

    @property
    def lease(self) -> LeaseRecord:
        """How things stand, for people."""
        leads = self.may_write()
        known = self._election.leader if self.problem is None else None
        leader = self.identity if leads else known
        shares, conflicts = ({}, ()) if self.division is None else (self.division.leaders, self.division.conflicts)
        problems = (*conflicts, *filter(None, [self.problem]))
        return LeaseRecord(self._store.name, self.identity, leader, leads, shares, problems)

    def may_write(self) -> bool:
        """True while this replica leads."""
        return self.seconds_left() > 0

    def seconds_left(self) -> float:
        """How long a write that goes out now may be in flight; 0 when it must not go out. For a `Fence`."""
        return self._election.seconds_left(self._clock.monotonic())

    def led_since(self) -> float:
        """When the present term began (epoch seconds, by the wall clock as it is set now); now, while this replica does not
        lead. For a `Fence`."""
        ago = self._clock.monotonic() - self._led_since if self.may_write() else 0.0
        return self._clock.now() - ago

    async def run(self, on_change: Callable[[], None]) -> None:
        """Claim, renew and step down until cancelled; `on_change` is called when another replica leads than before."""
        async with self._watching_division():
            await self._claim_repeatedly(on_change)

    @asynccontextmanager
    async def _watching_division(self) -> AsyncIterator[None]:
        if self.division is None:
            yield
            return
        watching = asyncio.ensure_future(self.division.run(self.may_write))
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _claim_repeatedly(self, on_change: Callable[[], None]) -> None:
        while True:
            self._expire(on_change)  # the machine may have slept, or this process been stopped
            try:
                await self._turn_if_able(on_change)
            except KvsyncError as error:
                self._failed(str(error), error)
            except Exception as error:  # noqa: BLE001 - whatever it is, the lease ends automatically, and then nothing is written
                self._failed("unexpected", error)
            self._expire(on_change)
            await self._clock.sleep(self._pause())

    async def _turn_if_able(self, on_change: Callable[[], None]) -> None:
        """Claim, or leave the lease to a replica that can work. Raises StoreError."""
        reason = self._why_away()
        if reason is None:
            await self.turn(on_change)
        elif self.may_write():
            await self._leave(f"{reason}, so that another replica may lead", on_change)

    async def _leave(self, reason: str, on_change: Callable[[], None]) -> None:
        """Lead no more at once, and let others lead when no write that was sent before can be in flight any more."""
        longest = self.seconds_left()
        self._election.step_down()
        self._lost(reason, on_change)
        await self._clock.sleep(longest)
        await self.release()

    def _why_away(self) -> str | None:
        """Why another replica should lead, None if this one may."""
        if not self.is_able():
            return "no pass has worked for some time"
        return "the files here are older than those applied last" if self._is_stale() else None

    def _is_stale(self) -> bool:
        """True for the time of one lease once this leader has lacked for too long what another replica applied. Nobody may have
        the newer files, so it leaves only once for each revision: then approvals are made here."""
        newest, now = self.superseded_by(), self._clock.monotonic()
        if newest is None:
            self._current_at = now
        elif self.may_write() and newest != self._left_for and now - self._current_at >= _STALE_SECONDS:
            self._left_for, self._stays_away_until = newest, now + self.seconds_left() + self._timing.duration
        return newest is not None and now < self._stays_away_until

    async def turn(self, on_change: Callable[[], None] = lambda: None) -> None:
        """Claim once. Raises StoreError."""
        asked_at, timeout = self._clock.monotonic(), self._claim_timeout()
        try:
            async with asyncio.timeout(timeout):
                claim = await self._store.claim()
        except TimeoutError:
            raise TransientError(f"lease {self._store.name}: no response within {timeout:.2g} s") from None
        led = self._election.leads
        self._election.record_answer(claim, asked_at, self._clock.monotonic())
        self._again_in, self.problem = claim.again_in, claim.problem
        if claim.problem is None:
            self._is_failing = False
        else:
            endless = StoreError(f"lease {self._store.name}: {claim.problem}")
            self._failed(str(endless), endless)
        if led and not self._election.leads:
            self._lost(_why_lost(claim), on_change)
        self._report_change(on_change)

    async def release(self) -> None:
        """Lead no more, and let others lead at once. Never raises: a lease that cannot be released ends automatically."""
        led = self.may_write()
        self._election.step_down()
        try:
            async with asyncio.timeout(RELEASE_WITHIN):
                await self._store.release()
        except (KvsyncError, TimeoutError) as error:
            if led:
                cause = error if isinstance(error, KvsyncError) else TransientError("no response")
                self._failed(f"it could not be released, and expires automatically: {cause}", cause)
        else:
            if led:
                _log.info("lease.released", lease=self._store.name, identity=self.identity)

    def _claim_timeout(self) -> float:
        """Seconds for one claim: short enough for another one in time."""
        half = self._timing.renew_within / 2
        if not self._election.leads:
            return half
        return max(_TICK, min(half, self._election.seconds_to_renew(self._clock.monotonic())))

    def _pause(self) -> float:
        spread = self._timing.retry * (1 - self._rng.uniform(0, _SPREAD))
        if self._election.leads:
            return max(_TICK, min(spread, self._election.seconds_to_renew(self._clock.monotonic())))
        return spread if self._again_in is None else max(_TICK, min(spread, self._again_in))

    def _failed(self, text: str, error: Exception) -> None:
        """Say it once until the next answer. The traceback comes with what was not expected."""
        self._again_in = None
        if not self._is_failing:
            fields = {"lease": self._store.name, "error": text, "code": code_of(error), "leads": self.may_write()}
            _log.error("lease.error", **fields, exc_info=not isinstance(error, KvsyncError))
        self._is_failing = True

    def _expire(self, on_change: Callable[[], None]) -> None:
        if self._election.expire(self._clock.monotonic()):
            self._lost("it could not be renewed in time", on_change)

    def _lost(self, reason: str, on_change: Callable[[], None]) -> None:
        seconds = round(self._clock.monotonic() - self._led_since, 1)
        _log.warning("lease.lost", lease=self._store.name, identity=self.identity, reason=reason, seconds=seconds)
        self._reported = None
        on_change()

    def _report_change(self, on_change: Callable[[], None]) -> None:
        election, names = self._election, {"lease": self._store.name, "identity": self.identity}
        now = election.leads, election.leader
        if now == self._reported:
            return
        before, self._reported = self._reported, now
        if election.leads:
            self._led_since = self._clock.monotonic()
            _log.info("lease.acquired", **names, previous=before[1] if before else None)
        else:
            _log.info("lease.standby", **names, leader=election.leader)
        on_change()


def _why_lost(claim: LeaseClaim) -> str:
    if claim.is_ours:
        return "the response came too late"
    if claim.problem is not None:
        return "it was overwritten"
    return "another replica took it over" if claim.leader else "it is gone"
