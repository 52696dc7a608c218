"""The daemon as one replica of several: a standby plans and never applies, a new leader looks at everything at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from kvsync.daemon.ports import PassRequest
from kvsync.model.result import PassResult, Trigger
from kvsync.state import LeaseRecord, StateDir
from kvsync.status.collector import Collector
from kvsync.status.document import status_document
from kvsync.status.snapshot import ProcessView
from kvsync.status.target_reports import CollectorSettings
from kvsync.testing import FakeClock
from tests.daemon.conftest import log
from tests.daemon.support import A, B, FakeReconciler, Log, turns
from tests.daemon.test_loop import running

__all__ = ["log"]


class ScriptedElection:
    """Decided by the test."""

    def __init__(self) -> None:
        self.leads = False
        self.told: list[str] = []
        self._changed: Callable[[], None] = lambda: None

    @property
    def lease(self) -> LeaseRecord:
        return LeaseRecord("test", "us", "us" if self.leads else "them", self.leads)

    def may_write(self) -> bool:
        return self.leads

    async def run(self, on_change: Callable[[], None]) -> None:
        self._changed = on_change
        try:
            await asyncio.Event().wait()
        finally:
            self.told.append("cancelled")

    async def release(self) -> None:
        self.told.append("released")

    def decide(self, *, leads: bool) -> None:
        self.leads = leads
        self._changed()


def asked(requests: list[PassRequest]) -> list[tuple[str, bool]]:
    return [("+".join(one.triggers), one.apply) for one in requests]


async def test_a_standby_plans_and_a_new_leader_applies_everything_at_once(log: Log) -> None:
    """Standing by, passes are made and write nothing, and the daemon is ready; leading, every target gets a pass at once;
    replaced, they are plans again."""
    reconciler, election = FakeReconciler([A, B]), ScriptedElection()
    async with running(reconciler, leadership=election) as work:
        await work.passes(2)
        assert work.recorder.daemon is not None
        assert work.recorder.daemon.ready
        assert work.recorder.daemon.lease == LeaseRecord("test", "us", "them", False)
        election.decide(leads=True)
        await work.passes(4)
        assert work.recorder.daemon.lease == LeaseRecord("test", "us", "us", True)
        election.decide(leads=False)
        work.daemon.trigger(Trigger.SIGNAL)
        await work.passes(6)
    for target in (A, B):
        assert asked(reconciler.asked(target)) == [("start", False), ("lease", True), ("signal", False)]
    assert election.told == ["cancelled", "released"]


async def test_a_pass_under_way_stops_when_the_lease_is_lost(log: Log) -> None:
    """A pass that may write is told to stop with its batch; one that only plans is not disturbed."""
    reconciler, election = FakeReconciler([A]), ScriptedElection()
    told: list[bool] = []

    async def in_batches(request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        told.append(stop())
        if request.apply:
            election.decide(leads=False)
            told.append(stop())
        return PassResult(request.target, pending=3)

    reconciler.scripts[A] = in_batches
    async with running(reconciler, leadership=election) as work:
        await work.passes(1)
        election.decide(leads=True)
        await work.passes(2)
    assert told == [False, False, True]


async def test_a_lease_is_not_released_over_a_write_in_flight(log: Log) -> None:
    """Where a pass had to be cancelled something of it may still arrive: then the lease ends on its own."""
    reconciler, election = FakeReconciler([A]), ScriptedElection()

    async def deaf(request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        await asyncio.Event().wait()
        return PassResult(request.target)

    reconciler.scripts[A] = deaf
    async with running(reconciler, leadership=election, leave_within=0.05) as work:
        await turns()
        assert (await work.stop()).unfinished == 1
    assert election.told == ["cancelled"]


async def test_who_leads_is_in_the_status_and_on_the_board(tmp_path: Any) -> None:
    """The state directory keeps it for `kvsync status`, the snapshot shows it, and only the leader counts as one."""
    with StateDir.open(tmp_path, writable=True) as state:
        election, seen = ScriptedElection(), []
        for leads in (False, True):
            reconciler = FakeReconciler([A])
            process = ProcessView(1, "0", "apply", 0)
            settings = CollectorSettings(process, state, FakeClock(), str)
            collector = Collector(settings, EmptyReconciler())
            async with running(reconciler, leadership=election, observers=[collector]) as work:
                await work.passes(1)
                election.decide(leads=leads)
                await turns()
                row = work.recorder.daemon
                assert row is not None
                state.passes.set_daemon(row)
                document: Mapping[str, Any] = status_document(state, time.time())["daemon"]
                snapshot = await collector.snapshot()
                seen.append((document["lease"]["leader"], document["lease"]["leads"], snapshot.process.leader))
                assert snapshot.process.lease == row.lease
                assert state.passes.daemon() == row
        assert seen == [("them", False, False), ("us", True, True)]


class EmptyReconciler:
    """No stores, no commit."""

    stores = ()
    commit = None
