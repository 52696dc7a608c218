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
from tests.daemon.support import BOUND, QUIET, A, FakeReconciler, FakeRecorder, Log, ManualClock, turns


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


class FetcherSetup:
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
    """It fetches at the start and then at the interval, give or take a tenth; what is new is reported, and nothing else."""
    setup = FetcherSetup()
    task = await setup.start()
    await setup.clock.advance(600)
    gaps = [later - earlier for earlier, later in zip(setup.remote.asked, setup.remote.asked[1:], strict=False)]
    assert all(54 <= gap <= 66 for gap in gaps)
    assert len(set(gaps)) > 1
    assert setup.news == 0
    setup.remote.answer = lambda: True
    await setup.clock.advance(67)
    assert setup.news == 1
    await ended(task)


async def test_when_asked() -> None:
    """Being asked makes it fetch at once; a hundred times in one moment is one fetch more, and not closer than a second."""
    setup = FetcherSetup()
    task = await setup.start()
    await setup.clock.advance(5)
    before = len(setup.remote.asked)
    setup.fetcher.ask()
    await turns()
    assert len(setup.remote.asked) == before + 1
    for _ in range(100):
        setup.fetcher.ask()
    await turns()
    assert len(setup.remote.asked) == before + 1
    await setup.clock.advance(1.1)
    assert len(setup.remote.asked) == before + 2
    await ended(task)


async def test_what_is_said_during_a_fetch_is_not_lost() -> None:
    """A push that comes while a fetch is under way gives another fetch after it."""
    setup = FetcherSetup()
    task = await setup.start()
    await setup.clock.advance(5)
    setup.remote.free.clear()
    setup.fetcher.ask()
    await turns()
    before = len(setup.remote.asked)
    setup.fetcher.ask()
    setup.remote.free.set()
    await setup.clock.advance(2)
    assert len(setup.remote.asked) == before + 1
    await ended(task)


async def test_failures_wait_longer_and_longer(log: Log) -> None:
    """A remote that cannot be had is tried again with pauses that grow up to minutes; that is said once, and once that it is
    over. Being asked ends the pause."""
    setup = FetcherSetup()
    task = await setup.start()

    def fail() -> bool:
        raise SourceError("the server cannot be reached")

    setup.remote.answer = fail
    await setup.clock.advance(3600)
    tries = len(setup.remote.asked)
    assert 12 <= tries <= 60
    setup.fetcher.ask()
    await turns()
    assert len(setup.remote.asked) == tries + 1
    setup.remote.answer = lambda: True
    await setup.clock.advance(300)
    assert setup.news >= 1
    assert len(log.events("source.unavailable")) == 1
    assert len(log.events("source.available")) == 1
    await ended(task)


async def test_files_that_come_from_nowhere() -> None:
    """Where nothing is to be fetched on its own, it still looks when asked: the configuration may have changed."""
    setup = FetcherSetup(every=None)
    task = await setup.start()
    await setup.clock.advance(3600)
    assert setup.remote.asked == []
    setup.remote.fetch_every = 60
    setup.fetcher.ask()
    await setup.clock.advance(180)
    assert len(setup.remote.asked) >= 3
    await ended(task)


class FetchingDaemon:
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


async def stopped(running: FetchingDaemon, task: asyncio.Task[object]) -> None:
    running.daemon._stop._ask(Signals.SIGTERM)
    await turns(200)
    await running.clock.advance(10)
    await asyncio.wait_for(task, BOUND)


async def test_the_first_fetch_comes_before_the_first_pass() -> None:
    """Nothing is read, and no pass made, before the first fetch is over."""
    running = FetchingDaemon()
    running.remote.free.clear()
    task = await running.start()
    assert running.reconciler.loads == 0
    running.remote.free.set()
    await turns(200)
    assert running.reconciler.asked(A)
    await stopped(running, task)


async def test_a_remote_that_hangs_does_not_hold_the_passes() -> None:
    """After a while the passes begin with what was there before, and what the fetch then brings is taken up."""
    running = FetchingDaemon()
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
    running = FetchingDaemon()
    running.remote.free.clear()
    task = await running.start()
    await stopped(running, task)
    assert not running.remote.free.is_set()


async def test_a_hook_makes_it_fetch() -> None:
    """A hook, a signal or a new configuration is handled at once, and makes it fetch as well."""
    running = FetchingDaemon()
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
    running = FetchingDaemon()
    running.reconciler.loaded = LoadedTargets({}, absent=True)
    task = await running.start()
    assert not running.daemon._readiness.is_reached()
    running.reconciler.loaded = LoadedTargets({})
    running.daemon.trigger(Trigger.FILES)
    await turns(200)
    assert running.daemon._readiness.is_reached()
    await stopped(running, task)
