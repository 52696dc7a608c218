"""When the daemon fetches, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from signal import Signals

from kvsync.daemon.fetching import PATIENCE, Fetcher
from kvsync.daemon.loop import Daemon
from kvsync.daemon.parts import DaemonOptions
from kvsync.daemon.ports import LoadedTargets
from kvsync.errors import SourceError
from kvsync.model.result import Trigger
from tests.daemon.support import QUIET, A, FakeReconciler, FakeRecorder, Log, ManualClock, turns


class FakeRemote:
    """Answers as told, and remembers when it was asked."""

    def __init__(self, clock: ManualClock, every: float | None = 60.0) -> None:
        self.fetch_every, self.clock = every, clock
        self.asked: list[float] = []
        self.answer: Callable[[], bool] = lambda: False
        self.free = asyncio.Event()
        self.free.set()

    async def fetch(self) -> bool:
        self.asked.append(self.clock.monotonic())
        await self.free.wait()
        return self.answer()


class Bench:
    """A fetcher that runs."""

    def __init__(self, every: float | None = 60.0) -> None:
        self.clock, self.news = ManualClock(), 0
        self.remote = FakeRemote(self.clock, every)
        self.fetcher = Fetcher(self.remote, self.clock, Random(1), self._heard)

    def _heard(self) -> None:
        self.news += 1

    async def start(self) -> asyncio.Task[None]:
        await self.fetcher.begin(asyncio.Event())
        task = asyncio.ensure_future(self.fetcher.run())
        await turns()
        return task


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_at_the_interval() -> None:
    """It fetches at the start and then at the interval, give or take a tenth; what is new is told, and nothing else."""
    bench = Bench()
    task = await bench.start()
    await bench.clock.advance(600)
    gaps = [later - earlier for earlier, later in zip(bench.remote.asked, bench.remote.asked[1:], strict=False)]
    assert all(54 <= gap <= 66 for gap in gaps)
    assert len(set(gaps)) > 1
    assert bench.news == 0
    bench.remote.answer = lambda: True
    await bench.clock.advance(67)
    assert bench.news == 1
    await ended(task)


async def test_when_asked() -> None:
    """Being asked makes it fetch at once; a hundred times in one moment is one fetch more, and not closer than a second."""
    bench = Bench()
    task = await bench.start()
    await bench.clock.advance(5)
    before = len(bench.remote.asked)
    bench.fetcher.ask()
    await turns()
    assert len(bench.remote.asked) == before + 1
    for _ in range(100):
        bench.fetcher.ask()
    await turns()
    assert len(bench.remote.asked) == before + 1
    await bench.clock.advance(1.1)
    assert len(bench.remote.asked) == before + 2
    await ended(task)


async def test_what_is_said_during_a_fetch_is_not_lost() -> None:
    """A push that comes while a fetch is under way gives another fetch after it."""
    bench = Bench()
    task = await bench.start()
    await bench.clock.advance(5)
    bench.remote.free.clear()
    bench.fetcher.ask()
    await turns()
    before = len(bench.remote.asked)
    bench.fetcher.ask()
    bench.remote.free.set()
    await bench.clock.advance(2)
    assert len(bench.remote.asked) == before + 1
    await ended(task)


async def test_failures_wait_longer_and_longer(log: Log) -> None:
    """A remote that cannot be had is tried again with pauses that grow up to minutes; that is said once, and once that it is
    over. Being asked ends the pause."""
    bench = Bench()
    task = await bench.start()

    def fail() -> bool:
        raise SourceError("the server cannot be reached")

    bench.remote.answer = fail
    await bench.clock.advance(3600)
    tries = len(bench.remote.asked)
    assert 12 <= tries <= 60
    bench.fetcher.ask()
    await turns()
    assert len(bench.remote.asked) == tries + 1
    bench.remote.answer = lambda: True
    await bench.clock.advance(300)
    assert bench.news >= 1
    assert len(log.events("source.unavailable")) == 1
    assert len(log.events("source.available")) == 1
    await ended(task)


async def test_files_that_come_from_nowhere() -> None:
    """Where nothing is to be fetched by itself, it still looks when asked: the configuration may have changed."""
    bench = Bench(every=None)
    task = await bench.start()
    await bench.clock.advance(3600)
    assert bench.remote.asked == []
    bench.remote.fetch_every = 60
    bench.fetcher.ask()
    await bench.clock.advance(180)
    assert len(bench.remote.asked) >= 3
    await ended(task)


class Running:
    """A daemon over a remote, in virtual time."""

    def __init__(self) -> None:
        self.clock, self.reconciler = ManualClock(), FakeReconciler()
        self.remote = FakeRemote(self.clock)
        self.daemon = Daemon(
            self.reconciler, FakeRecorder(), QUIET, DaemonOptions(remote=self.remote, clock=self.clock, rng=Random(1))
        )

    async def start(self) -> asyncio.Task[object]:
        task = asyncio.ensure_future(self.daemon.run())
        await turns(200)
        return task


async def stopped(running: Running, task: asyncio.Task[object]) -> None:
    running.daemon._stop._ask(Signals.SIGTERM)
    await turns(200)
    await running.clock.advance(10)
    await asyncio.wait_for(task, 20)


async def test_the_first_fetch_comes_before_the_first_pass() -> None:
    """Nothing is read, and no pass made, before the first fetch is over."""
    running = Running()
    running.remote.free.clear()
    task = await running.start()
    assert running.reconciler.loads == 0
    running.remote.free.set()
    await turns(200)
    assert running.reconciler.asked(A)
    await stopped(running, task)


async def test_a_remote_that_hangs_does_not_hold_the_passes() -> None:
    """After a while the passes begin with what was there before, and what the fetch then brings is taken up."""
    running = Running()
    running.remote.free.clear()
    task = await running.start()
    await running.clock.advance(PATIENCE + 1)
    assert len(running.reconciler.asked(A)) == 1
    running.reconciler.loaded = LoadedTargets({A: "2"})
    running.remote.answer = lambda: True
    running.remote.free.set()
    await turns(200)
    assert len(running.reconciler.asked(A)) == 2
    await stopped(running, task)


async def test_leaving_does_not_wait_for_a_fetch() -> None:
    """Told to stop while the first fetch hangs, the daemon leaves."""
    running = Running()
    running.remote.free.clear()
    task = await running.start()
    await stopped(running, task)
    assert not running.remote.free.is_set()


async def test_a_hook_makes_it_fetch() -> None:
    """A hook, a signal or a new configuration is heeded at once, and makes it fetch beside that."""
    running = Running()
    task = await running.start()
    await running.clock.advance(5)
    for trigger in (Trigger.HOOK, Trigger.SIGNAL, Trigger.CONFIG):
        before = len(running.remote.asked)
        running.daemon.trigger(trigger)
        await turns(200)
        await running.clock.advance(2)
        assert len(running.remote.asked) == before + 1
    await stopped(running, task)


async def test_ready_only_with_files() -> None:
    """As long as nothing could be fetched the daemon is not ready; it is once the first files are there, even if they name no
    target."""
    running = Running()
    running.reconciler.loaded = LoadedTargets({}, absent=True)
    task = await running.start()
    assert not running.daemon._first_passes.is_set()
    running.reconciler.loaded = LoadedTargets({})
    running.daemon.trigger(Trigger.FILES)
    await turns(200)
    assert running.daemon._first_passes.is_set()
    await stopped(running, task)
