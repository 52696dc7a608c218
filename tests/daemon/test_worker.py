"""One target's passes: folding, single flight, back-off, timers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random

from kvsync.daemon.triggers import PendingTriggers
from kvsync.daemon.worker import MIN_GAP, Worker
from kvsync.model.result import PassResult, Trigger
from kvsync.util.backoff import LONG_RUNNING
from tests.daemon.support import A, ManualClock, turns


class ScriptedPasses:
    """Does passes whose results, and whose length, the test decides."""

    def __init__(self, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.asks: list[PendingTriggers] = []
        self.results: list[PassResult] = []
        self.default = PassResult(A)
        self.running = self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.times: list[float] = []

    async def run_pass(self, worker: Worker, ask: PendingTriggers) -> PassResult:
        self.asks.append(ask)
        self.running += 1
        self.most = max(self.most, self.running)
        await self.gate.wait()
        self.running -= 1
        return self.results.pop(0) if self.results else self.default

    def pass_done(self, worker: Worker, result: PassResult) -> None:
        self.times.append(self.clock.now())


@asynccontextmanager
async def working(clock: ManualClock, passes: ScriptedPasses) -> AsyncIterator[Worker]:
    worker = Worker(A, passes, asyncio.Semaphore(1), clock, Random(1))
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        passes.gate.set()
        worker.stop_after_pass()
        await task


def down(retry_after: float | None = None) -> PassResult:
    return PassResult(A, error="no answer", unavailable=True, retryable=True, retry_after=retry_after)


async def test_a_thousand_asks_are_one_pass() -> None:
    """Triggers that come before a pass begins are one pass, with all their reasons."""
    passes = ScriptedPasses()
    async with working(ManualClock(), passes) as worker:
        for number in range(1000):
            worker.ask(Trigger.FILES if number % 2 else Trigger.SIGNAL, deep=number == 500)
        await turns()
    assert passes.asks == [PendingTriggers(frozenset({Trigger.FILES, Trigger.SIGNAL}), deep=True)]


async def test_asks_during_a_pass_are_one_more_and_never_a_second_at_once() -> None:
    """Triggers that come while a pass runs are one more pass, after it."""
    passes = ScriptedPasses()
    passes.gate.clear()
    async with working(ManualClock(), passes) as worker:
        worker.ask(Trigger.START)
        await turns()
        for _ in range(1000):
            worker.ask(Trigger.FILES)
        await turns()
        assert len(passes.asks) == 1
        passes.gate.set()
        await turns()
    assert len(passes.asks) == 2
    assert passes.most == 1


async def test_two_failures_then_success() -> None:
    """A failed pass is tried again after a back-off, and success ends the trying."""
    clock, passes = ManualClock(), ScriptedPasses()
    passes.results = [down(), down()]
    async with working(clock, passes) as worker:
        worker.ask(Trigger.START)
        await clock.advance(10_000)
    assert [sorted(ask.triggers) for ask in passes.asks] == [["start"], ["retry"], ["retry"]]


async def test_back_off_grows_up_to_its_cap() -> None:
    """However often it fails, a target is tried at least once in every five minutes, and not much more often."""
    clock = ManualClock()
    passes = ScriptedPasses(clock)
    passes.default = down()
    async with working(clock, passes) as worker:
        worker.ask(Trigger.START)
        await clock.advance(100 * LONG_RUNNING.cap)
    waits = [later - sooner for sooner, later in pairwise(passes.times)]
    assert max(waits[:4]) <= 8
    assert LONG_RUNNING.cap / 2 < max(waits) <= LONG_RUNNING.cap + 1
    assert sum(waits[20:]) / len(waits[20:]) > LONG_RUNNING.cap / 4


async def test_retry_after_is_waited_for() -> None:
    """A store that says when to come back is not asked before."""
    clock, passes = ManualClock(), ScriptedPasses()
    passes.results = [down(retry_after=120)]
    async with working(clock, passes) as worker:
        worker.ask(Trigger.START)
        await clock.advance(119)
        assert len(passes.asks) == 1
        await clock.advance(10)
    assert len(passes.asks) == 2


async def test_the_schedule_waits_for_the_end_of_a_back_off() -> None:
    """A regular beat does not break through a back-off; it joins the retry."""
    clock, passes = ManualClock(), ScriptedPasses()
    passes.results = [down(retry_after=60)]
    async with working(clock, passes) as worker:
        worker.ask(Trigger.START)
        await clock.advance(10)
        worker.ask(Trigger.SCHEDULE)
        await clock.advance(10)
        assert len(passes.asks) == 1
        await clock.advance(60)
    assert [sorted(ask.triggers) for ask in passes.asks] == [["start"], ["retry", "schedule"]]


async def test_a_file_change_ends_a_back_off() -> None:
    """What a person did is tried at once, also when it came during the pass that failed."""
    clock, passes = ManualClock(), ScriptedPasses()
    passes.default = down(retry_after=1000)
    async with working(clock, passes) as worker:
        worker.ask(Trigger.START)
        await turns()
        worker.ask(Trigger.FILES)
        await turns()
        assert len(passes.asks) == 2
        passes.gate.clear()
        worker.ask(Trigger.FILES)
        await turns()
        worker.ask(Trigger.FILES)
        passes.gate.set()
        await turns()
    assert len(passes.asks) == 4


async def test_an_error_that_time_does_not_heal_is_tried_rarely() -> None:
    """After a refused credential the target rests for minutes, and is still tried again on its own."""
    clock, passes = ManualClock(), ScriptedPasses()
    passes.results = [PassResult(A, error="401", unavailable=True)]
    async with working(clock, passes) as worker:
        worker.ask(Trigger.START)
        await clock.advance(LONG_RUNNING.cap / 2 - 1)
        assert len(passes.asks) == 1
        await clock.advance(LONG_RUNNING.cap)
    assert len(passes.asks) == 2


async def test_a_held_target_does_its_renewals_in_time() -> None:
    """Problems in files are not a reason to back off: the next renewal is done at its moment, and nothing is tried before."""
    clock, passes = ManualClock(), ScriptedPasses()
    passes.results = [PassResult(A, error="web.yaml:1:1: broken", next_moment=clock.now() + 600)]
    passes.default = PassResult(A, error="web.yaml:1:1: broken")
    async with working(clock, passes) as worker:
        worker.ask(Trigger.FILES)
        await clock.advance(599)
        assert len(passes.asks) == 1
        await clock.advance(1)
        assert passes.asks[1:] == [PendingTriggers(frozenset({Trigger.TIMER}))]
        await clock.advance(10 * LONG_RUNNING.cap)
    assert len(passes.asks) == 2


async def test_the_next_moment_brings_a_pass_and_nothing_before_it() -> None:
    """A renewal is done at its moment, by a timer, with no pass in between."""
    clock, passes = ManualClock(), ScriptedPasses()
    passes.results = [PassResult(A, next_moment=clock.now() + 7200)]
    async with working(clock, passes) as worker:
        worker.ask(Trigger.START)
        await clock.advance(7199)
        assert len(passes.asks) == 1
        await clock.advance(1)
    assert passes.asks[1:] == [PendingTriggers(frozenset({Trigger.TIMER}))]


async def test_a_moment_that_stays_due_is_not_a_busy_loop() -> None:
    """A renewal that the pass could not do is tried ever more slowly."""
    clock, passes = ManualClock(), ScriptedPasses()
    passes.default = PassResult(A, next_moment=clock.now() - 1)
    async with working(clock, passes) as worker:
        worker.ask(Trigger.START)
        await clock.advance(MIN_GAP / 2)
        assert len(passes.asks) == 1
        await clock.advance(3600)
    assert 5 < len(passes.asks) < 60


async def test_a_step_of_the_wall_clock_is_noticed() -> None:
    """When the wall clock is set forward over a moment, the pass follows within a minute."""
    clock, passes = ManualClock(), ScriptedPasses()
    passes.results = [PassResult(A, next_moment=clock.now() + 7200)]
    async with working(clock, passes) as worker:
        worker.ask(Trigger.START)
        await turns()
        clock.step(7200)
        await clock.advance(60)
    assert len(passes.asks) == 2


async def test_a_clock_that_is_set_back_delays_no_moment() -> None:
    """When the wall clock is set back by hours, the pass comes when its time has passed."""
    clock, passes = ManualClock(), ScriptedPasses()
    passes.results = [PassResult(A, next_moment=clock.now() + 7200)]
    async with working(clock, passes) as worker:
        worker.ask(Trigger.START)
        await turns()
        clock.step(-6 * 3600)
        await clock.advance(7260)
    assert len(passes.asks) == 2


async def test_a_suspended_worker_waits_until_it_is_resumed() -> None:
    """A target that no file names gets no pass, neither asked nor timed, and a returning one does."""
    clock, passes = ManualClock(), ScriptedPasses()
    passes.results = [PassResult(A, next_moment=clock.now() + 60)]
    async with working(clock, passes) as worker:
        worker.ask(Trigger.START)
        await turns()
        worker.suspend()
        worker.ask(Trigger.SCHEDULE)
        await clock.advance(120)
        assert len(passes.asks) == 1
        worker.resume()
        worker.ask(Trigger.FILES)
        await turns()
    assert len(passes.asks) == 2
