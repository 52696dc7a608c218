"""One replica in the election: what it does with a keeper's answers as time passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

import pytest

from kvsync.app.leadership import leading_now
from kvsync.errors import LeaseHeld, TransientError
from kvsync.leader.elector import Elector
from kvsync.leader.model import LeaseClaim, Timing
from kvsync.model.health import DoctorCheck
from tests.daemon.conftest import log
from tests.daemon.support import BOUND, Log, ManualClock, turns

__all__ = ["log"]

OURS, THEIRS = LeaseClaim("us", is_ours=True, duration=10), LeaseClaim("them")


class ScriptedKeeper:
    """Answers as it is told to."""

    name = "test"

    def __init__(self, answer: LeaseClaim | Exception) -> None:
        self.answer: LeaseClaim | Exception | None = answer
        self.claims = self.releases = 0

    async def claim(self) -> LeaseClaim:
        self.claims += 1
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        assert self.answer is not None
        return self.answer

    async def release(self) -> None:
        self.releases += 1
        if isinstance(self.answer, Exception):
            raise self.answer

    async def check(self) -> Sequence[DoctorCheck]:
        return ()

    async def aclose(self) -> None:
        return


class RunningElector:
    """An elector at work."""

    def __init__(self, answer: LeaseClaim | Exception, timing: Timing) -> None:
        self.keeper, self.clock = ScriptedKeeper(answer), ManualClock()
        self.elector = Elector(self.keeper, "us", timing, self.clock, Random(1))
        self.changes: list[bool] = []

    def changed(self) -> None:
        self.changes.append(self.elector.may_write())


@asynccontextmanager
async def running(answer: LeaseClaim | Exception, timing: Timing | None = None) -> AsyncIterator[RunningElector]:
    found = RunningElector(answer, timing or Timing(10, 7, 2))
    task = asyncio.ensure_future(found.elector.run(found.changed))
    await turns()
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def said(log: Log) -> list[str]:
    return [event["event"] for event in log.events()]


async def test_a_leader_renews_and_says_so_once(log: Log) -> None:
    """It claims every two seconds at most, and goes on leading without another word."""
    async with running(OURS) as one:
        await one.clock.advance(60)
        assert one.elector.may_write()
        assert one.keeper.claims >= 30
    assert said(log) == ["lease.acquired"]
    assert one.changes == [True]


async def test_a_leader_that_cannot_renew_stops_in_time(log: Log) -> None:
    """Seven seconds after it last asked with success it writes nothing, says why, and leads again once it is answered."""
    async with running(OURS) as one:
        one.keeper.answer = TransientError("lease test: no connection")
        await one.clock.advance(6.9)
        assert one.elector.may_write()
        await one.clock.advance(0.2)
        assert not one.elector.may_write()
        assert one.elector.seconds_left() == 0
        one.keeper.answer = OURS
        await one.clock.advance(2)
        assert one.elector.may_write()
    assert said(log) == ["lease.acquired", "lease.error", "lease.lost", "lease.acquired"]
    assert log.events("lease.lost")[0]["reason"] == "it could not be renewed in time"
    assert one.changes == [True, False, True]


async def test_a_leader_that_was_replaced_stops_at_once(log: Log) -> None:
    """The word of the keeper is enough."""
    async with running(OURS) as one:
        one.keeper.answer = THEIRS
        await one.clock.advance(2)
        assert not one.elector.may_write()
        assert one.elector.lease.leader == "them"
    assert said(log) == ["lease.acquired", "lease.lost", "lease.standby"]


async def test_a_standby_hears_of_every_new_leader(log: Log) -> None:
    """Each is said once, and takes over when nobody leads."""
    async with running(THEIRS) as one:
        await one.clock.advance(10)
        one.keeper.answer = LeaseClaim("another")
        await one.clock.advance(10)
        one.keeper.answer = OURS
        await one.clock.advance(2)
    assert [event.get("leader") for event in log.events("lease.standby")] == ["them", "another"]
    assert log.events("lease.acquired")[0]["previous"] == "another"
    assert one.changes == [False, False, True]


async def test_a_standby_claims_when_the_lease_of_the_leader_ends(log: Log) -> None:
    """It does not wait for its next turn."""
    async with running(LeaseClaim("them", again_in=0.5)) as one:
        claims, one.keeper.answer = one.keeper.claims, OURS
        await one.clock.advance(0.6)
        assert one.keeper.claims == claims + 1


async def test_an_error_is_said_once_and_again_after_an_answer(log: Log) -> None:
    """A keeper that is down for an hour is one line; one that comes and goes is a line each time."""
    async with running(TransientError("lease test: no connection")) as one:
        await one.clock.advance(3600)
        one.keeper.answer = THEIRS
        await one.clock.advance(2)
        one.keeper.answer = TransientError("lease test: no connection")
        await one.clock.advance(60)
    assert said(log) == ["lease.error", "lease.standby", "lease.error"]


async def test_a_mistake_in_a_keeper_makes_nobody_a_leader(log: Log) -> None:
    """Whatever goes wrong, the election goes on, and the lease ends on its own."""
    async with running(OURS) as one:
        one.keeper.answer = ZeroDivisionError("oh")
        await one.clock.advance(8)
        assert not one.elector.may_write()
        one.keeper.answer = OURS
        await one.clock.advance(2)
        assert one.elector.may_write()
    assert "ZeroDivisionError" in str(log.events("lease.error")[0]["exception"])


async def test_a_keeper_that_does_not_answer_is_asked_again(log: Log) -> None:
    """A claim is given up early enough for another one in time."""
    async with running(THEIRS, Timing(10, 0.1, 0.01)) as one:
        one.keeper.answer = None
        await one.clock.advance(0.02)
        async with asyncio.timeout(BOUND):
            while one.keeper.claims < 4:
                await one.clock.advance(0.02)
                await asyncio.sleep(0.01)
    assert "lease test: no response within 0.05 s" in log.events("lease.error")[0]["error"]


async def test_a_leader_with_older_files_leaves_once(log: Log) -> None:
    """It lets another replica lead for the time of one lease. If none does, it leads again and stays, until yet newer files are
    applied by another one."""
    async with running(OURS) as one:
        one.elector.superseded_by = lambda: "newer"
        await one.clock.advance(110)
        assert one.elector.may_write()
        await one.clock.advance(14)
        assert not one.elector.may_write()
        await one.clock.advance(600)
        assert one.elector.may_write()
        assert one.keeper.releases == 1
        one.elector.superseded_by = lambda: "newest"
        await one.clock.advance(9)
        assert (one.elector.may_write(), one.keeper.releases) == (False, 2)
        one.elector.superseded_by = lambda: None
        await one.clock.advance(4)
        assert one.elector.may_write()
    reason = "the files here are older than those applied last, so that another replica may lead"
    assert [event["reason"] for event in log.events("lease.lost")] == [reason, reason]


async def test_a_leader_that_cannot_work_releases_the_lease_after_its_writes(log: Log) -> None:
    """A pass may hang because the response to a write is missing: another leader must not write before that one is aborted."""
    async with running(OURS) as one:
        await one.clock.advance(3)
        longest = one.elector.seconds_left()
        one.elector.is_able = lambda: False
        await one.clock.advance(2)
        assert (one.elector.may_write(), one.keeper.releases) == (False, 0)
        await one.clock.advance(longest - 2.1)
        assert one.keeper.releases == 0
        await one.clock.advance(2)
        assert one.keeper.releases == 1
    assert said(log) == ["lease.acquired", "lease.lost"]


async def test_releasing_closes_the_fence_first(log: Log) -> None:
    """Before the keeper hears of it nothing is written any more; a keeper that does not answer is not a reason to stay."""
    one = RunningElector(OURS, Timing(10, 7, 2))
    await one.elector.turn()
    assert one.elector.may_write()
    one.keeper.answer = TransientError("lease test: no connection")
    await one.elector.release()
    assert not one.elector.may_write()
    assert one.keeper.releases == 1
    assert [event["event"] for event in log.events()] == ["lease.acquired", "lease.error"]


async def test_a_single_pass_leads_or_does_nothing(log: Log) -> None:
    """Behind another leader it ends at once and names it; else it leads until the end, and releases the lease."""
    one = RunningElector(THEIRS, Timing(10, 7, 2))
    with pytest.raises(LeaseHeld, match="lease test: them leads; nothing was written"):
        async with leading_now(one.elector):
            raise AssertionError("another one leads")
    one.keeper.answer = OURS
    async with leading_now(one.elector):
        assert one.elector.may_write()
    assert (one.elector.may_write(), one.keeper.releases) == (False, 1)
