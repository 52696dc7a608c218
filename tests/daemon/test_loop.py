"""The daemon as a whole, over a scripted reconciler: triggers, isolation, gates, leaving."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kvsync.config.model import RunConfig, Window
from kvsync.daemon.failure_log import MOST_TEXTS
from kvsync.daemon.loop import Daemon, DaemonResult
from kvsync.daemon.once import run_once
from kvsync.daemon.parts import DaemonOptions
from kvsync.daemon.ports import LoadedTargets, PassRequest, StatusStore
from kvsync.daemon.systemd import SystemdNotifier
from kvsync.daemon.watch import WatchTiming
from kvsync.errors import InvalidInput, Origin, PermanentError, Problem, StateDirError, StateDirLost, TransientError
from kvsync.model.entry import Target
from kvsync.model.result import PassResult, Trigger
from kvsync.state import StateDir
from tests.daemon.support import (
    BOUND,
    QUIET,
    A,
    B,
    C,
    FakeReconciler,
    FakeRecorder,
    Log,
    ManualClock,
    succeed,
    turns,
    until,
)

SATURDAY = 1_795_219_200.0  # 2026-11-21T00:00:00Z


class RunningDaemon:
    """A daemon at work, and what it works with."""

    def __init__(self, reconciler: FakeReconciler, settings: RunConfig, clock: ManualClock, **options: Any) -> None:
        self.reconciler, self.clock, self.recorder = reconciler, clock, FakeRecorder()
        self.daemon = Daemon(
            reconciler,
            self.recorder,
            settings,
            DaemonOptions(
                notifier=SystemdNotifier({}), clock=clock, rng=Random(1), pace=WatchTiming(scan=3600), **options
            ),
        )
        self.task = asyncio.ensure_future(self.daemon.run())

    async def stop(self) -> DaemonResult:
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(BOUND):
            return await self.task

    async def passes(self, count: int) -> None:
        await until(lambda: len(self.reconciler.finished) >= count)
        await turns()


@asynccontextmanager
async def running(
    reconciler: FakeReconciler, settings: RunConfig = QUIET, clock: ManualClock | None = None, **options: Any
) -> AsyncIterator[RunningDaemon]:
    work = RunningDaemon(reconciler, settings, clock or ManualClock(SATURDAY), **options)
    await turns()
    try:
        yield work
    finally:
        if not work.task.done():
            await work.stop()


def raising(error: Exception) -> Any:
    async def script(request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        raise error

    return script


def answering(**fields: Any) -> Any:
    async def script(request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        return PassResult(request.target, **({"digest": "sha256:1"} | fields))

    return script


async def hanging(request: PassRequest, stop: Callable[[], bool]) -> PassResult:
    await asyncio.Event().wait()
    return PassResult(request.target)


async def until_stopped(request: PassRequest, stop: Callable[[], bool]) -> PassResult:
    if request.apply:
        await until(stop)
    return PassResult(request.target, changes={"applied": 1, "not-attempted": 9})


async def test_every_target_gets_a_first_pass(log: Log) -> None:
    """At the start each target gets one pass that may apply; then the daemon is ready, and leaves when asked to."""
    async with running(FakeReconciler([A, B, C])) as work:
        await work.passes(3)
        assert work.recorder.seen[-1].ready
        result = await work.stop()
    assert result == DaemonResult("SIGTERM")
    assert work.reconciler.requests == [PassRequest(target, triggers=(Trigger.START,)) for target in (C, A, B)]
    assert work.recorder.daemon is None
    assert sorted(work.recorder.rows) == [C, A, B]
    names = [event["event"] for event in log.events() if event["event"].startswith("daemon.")]
    assert names == ["daemon.started", "daemon.ready", "daemon.stopping", "daemon.stopped"]


async def test_memory_that_only_the_start_needed_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once all first passes are over, free memory goes back to the system; later passes release nothing again."""
    reconciler, passes = FakeReconciler([A, B, C]), list[int]()
    monkeypatch.setattr("kvsync.daemon.readiness.release_free_memory", lambda: passes.append(len(reconciler.requests)))
    async with running(reconciler) as work:
        await work.passes(3)
        await until(lambda: bool(passes))
        work.daemon.request_pass(A)
        await work.passes(4)
    assert passes == [3]


async def test_no_targets_is_not_a_reason_not_to_be_ready() -> None:
    """A daemon whose files name nothing is ready, and waits for them to."""
    async with running(FakeReconciler([])) as work:
        assert work.recorder.seen[-1].ready


async def test_a_thousand_triggers_are_few_passes() -> None:
    """A storm of triggers while a pass runs reads the files a few times and makes a pass or two."""
    reconciler, released = FakeReconciler(), asyncio.Event()

    async def slow(request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        await released.wait()
        return PassResult(request.target)

    reconciler.scripts[A] = slow
    async with running(reconciler) as work:
        for number in range(1000):
            work.daemon.trigger(Trigger.SIGNAL)
            if number % 100 == 0:
                await asyncio.sleep(0)
        await turns()
        released.set()
        await work.passes(2)
    assert len(reconciler.requests) == 2
    assert reconciler.loads < 20


async def test_a_hanging_target_delays_no_other() -> None:
    """A target whose store never answers keeps neither a target of the same store nor one of another waiting."""
    reconciler = FakeReconciler([A, B, C])
    reconciler.scripts[A] = hanging
    async with running(reconciler, leave_within=0.05) as work:
        await work.passes(2)
        work.daemon.trigger(Trigger.SIGNAL)
        await work.passes(4)
        assert sorted(reconciler.finished) == [C, C, B, B]
        assert (await work.stop()).unfinished == 1


async def test_an_accident_in_a_pass_is_logged_and_the_daemon_lives(log: Log) -> None:
    """An exception that nobody expected backs off its target alone; the text of it, which may hold anything, is not shown."""
    reconciler = FakeReconciler([A, B])
    reconciler.scripts[A] = raising(RuntimeError("what a surprise"))
    async with running(reconciler) as work:
        await work.passes(1)
        reconciler.scripts[A] = succeed
        await work.clock.advance(10)
        assert sorted(reconciler.finished) == [A, B]
    failures = log.events("pass.failed")
    assert [event["namespace"] for event in failures] == ["a", "a"]
    assert "surprise" not in str(work.recorder.rows)
    assert reconciler.asked(A)[1].triggers == (Trigger.RETRY,)


@pytest.mark.parametrize(
    ("error", "within", "times"),
    [(TransientError("503"), 10, 2), (StateDirError("x", "full"), 10, 2), (PermanentError("404"), 100, 1)],
)
async def test_an_error_is_tried_again_as_it_deserves(error: Exception, within: float, times: int) -> None:
    """What waiting may heal is tried again in seconds, and what it cannot heal in minutes."""
    reconciler = FakeReconciler([A])
    reconciler.scripts[A] = raising(error)
    async with running(reconciler) as work:
        await work.clock.advance(1)
        reconciler.scripts[A] = succeed
        await work.clock.advance(within)
        assert len(reconciler.requests) >= times
        await work.clock.advance(600)
        assert work.recorder.rows[A]["error"] is None


async def test_a_store_is_said_to_be_down_once_and_back_once(log: Log) -> None:
    """However many targets and tries fail, the log says once that a store is down, and once that it is back."""
    reconciler = FakeReconciler([A, B, C])
    for target in (A, B):
        reconciler.scripts[target] = raising(TransientError("503"))
    async with running(reconciler) as work:
        await work.clock.advance(600)
        reconciler.scripts.clear()
        await work.clock.advance(600)
    assert [event["store"] for event in log.events("store.unavailable")] == ["edge"]
    assert [event["store"] for event in log.events("store.recovered")] == ["edge"]


async def test_a_store_that_stays_down_is_reported_at_growing_intervals(log: Log) -> None:
    """In a day that a store is down, the log has a handful of events of it, with counts, and none of each try."""
    reconciler = FakeReconciler([A, B])
    for target in (A, B):
        reconciler.scripts[target] = raising(TransientError("503"))
    async with running(reconciler) as work:
        await work.clock.advance(86_400)
    assert len(log.events("store.unavailable")) == 1
    reports = log.events("store.down")
    assert 3 <= len(reports) <= 9
    assert all(report["failures"] > 1 for report in reports)
    assert [report["seconds"] for report in reports] == sorted(report["seconds"] for report in reports)
    assert log.events("pass.failed") == []
    assert len(reconciler.requests) > 100


async def test_a_store_that_fails_in_many_ways_is_reported_no_more_often(log: Log) -> None:
    """Each kind of error is logged once for all targets, and no more of them than a person reads."""
    errors = (f"status {status} on line {number}" for number in itertools.count() for status in (502, 503, 504))
    reconciler = FakeReconciler([A, B])

    async def fail(_request: PassRequest, _stop: Callable[[], bool]) -> PassResult:
        raise TransientError(next(errors))

    reconciler.scripts = {A: fail, B: fail}
    async with running(reconciler) as work:
        await work.clock.advance(14_400)
        reports = len(log.events("store.down"))
        assert len(log.events("pass.failed")) <= (1 + reports) * MOST_TEXTS
        reconciler.scripts.clear()
        await work.clock.advance(600)
    assert 3 <= reports <= 5
    assert len(log.events("store.recovered")) == 1
    assert len(reconciler.requests) > 100


async def test_a_failure_that_is_not_the_stores_is_reported_at_growing_intervals(log: Log) -> None:
    """A full disk does not fill the log of each target, and the next failure after a recovery is news."""
    reconciler = FakeReconciler([A])
    reconciler.scripts[A] = raising(StateDirError("x", "full"))
    async with running(reconciler) as work:
        await work.clock.advance(14_400)
        first, *later = log.events("pass.failed")
        assert 3 <= len(later) <= 5
        assert "failures" not in first
        assert all(event["failures"] > 1 for event in later)
        reconciler.scripts[A] = succeed
        await work.clock.advance(600)
        reconciler.scripts[A] = raising(StateDirError("x", "full"))
        work.daemon.trigger(Trigger.SIGNAL)
        await work.clock.advance(600)
    assert len(log.events("pass.failed")) == len(later) + 2
    assert "failures" not in log.events("pass.failed")[-1]


async def test_a_target_that_its_store_fails_in_its_own_way_is_reported_once(log: Log) -> None:
    """What fails one target is logged when it is new, and not at each try."""
    reconciler = FakeReconciler([A, B])
    reconciler.scripts[A] = raising(TransientError("503"))
    reconciler.scripts[B] = raising(PermanentError("no such namespace"))
    async with running(reconciler) as work:
        await work.clock.advance(800)
    failed = log.events("pass.failed")
    assert len(failed) == 1
    assert len(reconciler.requests) > 6


async def test_a_state_directory_that_is_gone_ends_the_daemon() -> None:
    """When what it records is lost, the daemon lets passes in flight end and raises the reason, so that it is started again."""
    reconciler = FakeReconciler([A])
    async with running(reconciler) as work:
        await work.passes(1)
        work.recorder.lost = StateDirLost("x", "gone")
        work.daemon.trigger(Trigger.SIGNAL)
        with pytest.raises(StateDirLost):
            await work.task


async def test_a_state_directory_that_cannot_be_examined_does_not_end_the_daemon() -> None:
    """It may be locked for a moment, or no descriptor may be free: passes go on, and fail for as long as it is so."""
    async with running(FakeReconciler([A])) as work:
        await work.passes(1)
        work.recorder.lost = StateDirError("x", "state.db is locked by another process")
        for number in range(2, 4):
            work.daemon.trigger(Trigger.SIGNAL)
            await work.passes(number)
        assert not work.task.done()


async def test_a_file_of_the_state_directory_that_was_written_again_is_logged(log: Log) -> None:
    """The daemon continues, and says what was missing."""
    async with running(FakeReconciler([A])) as work:
        work.recorder.restored = "key"
        work.daemon.trigger(Trigger.SIGNAL)
        await work.passes(1)
    assert {event["file"] for event in log.events("state.restored")} == {"key"}


async def test_only_what_changed_gets_a_pass_when_files_change(log: Log) -> None:
    """A file change is a pass of the targets whose desired state changed, of new ones and of those newly held or freed."""
    reconciler, problem = FakeReconciler([A, B]), Problem("bad", Origin("web.yaml", 3, 1), "do better")
    async with running(reconciler) as work:
        await work.passes(2)
        reconciler.requests.clear()
        work.daemon.trigger(Trigger.FILES)
        await turns()
        assert reconciler.requests == []
        for loaded, expected in (
            (LoadedTargets({A: "2", B: "1"}), [A]),
            (LoadedTargets({A: "2", B: "1", C: "1"}), [C]),
            (LoadedTargets({A: "2", C: "1"}, held={B: (problem,)}, problems=(problem,)), [B]),
            (LoadedTargets({A: "2", B: "1", C: "1"}), [B]),
            (LoadedTargets({A: "2", B: "1"}), []),
        ):
            reconciler.loaded = loaded
            work.daemon.trigger(Trigger.FILES)
            await turns()
            assert [request.target for request in reconciler.requests] == expected
            assert all(request.triggers == (Trigger.FILES,) for request in reconciler.requests)
            reconciler.requests.clear()
        assert sorted(work.recorder.rows) == [A, B]
    (invalid,) = log.events("source.invalid")
    assert (invalid["file"], invalid["line"], invalid["error"], invalid["hint"]) == ("web.yaml", 3, "bad", "do better")
    assert len(log.events("source.recovered")) == 1
    assert [event["namespace"] for event in log.events("target.removed")] == ["c"]


async def test_when_it_is_not_known_whom_a_problem_concerns_every_target_stays() -> None:
    """A file that says nothing intelligible takes no target away."""
    reconciler, problem = FakeReconciler([A, B]), Problem("not YAML", Origin("web.yaml", 1, 1))
    async with running(reconciler) as work:
        await work.passes(2)
        reconciler.loaded = LoadedTargets({}, hold_all=(problem,), problems=(problem,))
        work.daemon.trigger(Trigger.FILES)
        await turns()
        assert sorted(work.recorder.rows) == [A, B]
        assert len(reconciler.requests) == 4


async def test_files_that_cannot_be_read_at_all_change_nothing(log: Log) -> None:
    """An error, even an unexpected one, while the files are read again leaves everything as it was."""
    reconciler = FakeReconciler([A])

    def fail() -> LoadedTargets:
        raise OSError("input/output error")

    async with running(reconciler) as work:
        await work.passes(1)
        reconciler.on_load = fail
        work.daemon.trigger(Trigger.FILES)
        await turns()
        reconciler.on_load = lambda: LoadedTargets({A: "2"})
        work.daemon.trigger(Trigger.FILES)
        await work.passes(2)
    assert len(log.events("source.invalid")) == 1


async def test_what_the_first_reading_raises_ends_the_daemon() -> None:
    """A daemon that cannot read anything at its start says so, and does not pretend to run."""
    reconciler = FakeReconciler()

    def fail() -> LoadedTargets:
        raise StateDirError("x", "full")

    reconciler.on_load = fail
    with pytest.raises(StateDirError):
        await Daemon(reconciler, FakeRecorder(), QUIET, DaemonOptions(notifier=SystemdNotifier({}))).run()


async def test_removals_wait_until_the_files_are_unchanged() -> None:
    """A pass on changing files asks for a grace that covers the whole time they have been changing, a later one for none."""
    reconciler = FakeReconciler([A])
    async with running(reconciler) as work:
        await work.passes(1)
        for number in range(2, 7):
            reconciler.loaded = LoadedTargets({A: str(number)})
            work.daemon.trigger(Trigger.FILES)
            await work.clock.advance(0.5)
        await work.clock.advance(0.6)
        work.daemon.trigger(Trigger.SIGNAL)
        await turns()
    assert [request.grace for request in reconciler.requests] == pytest.approx([0, 1, 1.5, 2, 2.5, 3, 0])


async def test_what_waits_for_the_files_is_done_once_they_are_unchanged() -> None:
    """However long the files were moving, a removal is looked at again a second after the last change, and not later."""
    reconciler = FakeReconciler([A])

    async def removing(request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        end = work.clock.now() + request.grace
        return PassResult(request.target, pending=1, next_moment=end) if request.grace else PassResult(request.target)

    async with running(reconciler) as work:
        reconciler.scripts[A] = removing
        for number in range(2, 20):
            reconciler.loaded = LoadedTargets({A: str(number)})
            work.daemon.trigger(Trigger.FILES)
            await work.clock.advance(0.9)
        assert all(request.grace for request in reconciler.requests[1:])
        await work.clock.advance(0.2)
        assert (reconciler.requests[-1].triggers, reconciler.requests[-1].grace) == ((Trigger.TIMER,), 0)
        count = len(reconciler.requests)
        await work.clock.advance(3600)
    assert len(reconciler.requests) == count


async def test_the_regular_beat_passes_everything_and_reads_the_files() -> None:
    """At each beat the files are read again, and every target gets a pass, also without a watcher."""
    reconciler = FakeReconciler([A, B])
    async with running(reconciler, replace(QUIET, every=0.05, jitter=0)) as work:
        await work.passes(6)
    assert reconciler.loads >= 3
    assert reconciler.asked(A)[1].triggers == (Trigger.SCHEDULE,)


async def test_the_deep_beat_reads_values() -> None:
    """The rarer beat asks for a deep pass."""
    reconciler = FakeReconciler([A])
    async with running(reconciler, replace(QUIET, deep_every=0.05, jitter=0)) as work:
        await work.passes(2)
    assert [request.deep for request in reconciler.requests[:2]] == [False, True]


async def test_observing_never_applies() -> None:
    """With `observe` no pass may apply, whatever triggers it."""
    reconciler = FakeReconciler([A, B])
    async with running(reconciler, observe=True) as work:
        await work.passes(2)
        for trigger in Trigger:
            work.daemon.trigger(trigger)
            await turns()
        assert work.recorder.seen[-1].mode == "observe"
    assert len(reconciler.requests) > 8
    assert not any(request.apply for request in reconciler.requests)


async def test_a_window_holds_back_and_its_end_brings_what_waited(log: Log) -> None:
    """In a window plans are made and not applied; when it ends, targets with something pending get their pass at once."""
    hour = Window("0 1 * * *", 3600)
    reconciler = FakeReconciler([A, B])
    async with running(reconciler, replace(QUIET, windows=(hour,))) as work:
        await work.passes(2)
        await work.clock.advance(3600)
        reconciler.scripts[A] = answering(pending=1)
        work.daemon.trigger(Trigger.SIGNAL)
        await turns()
        await work.clock.advance(3600)
        assert [row.window for row in work.recorder.seen[-2:]] == ["0 1 * * * UTC", None]
    assert [request.apply for request in reconciler.asked(A)] == [True, False, True]
    assert reconciler.asked(A)[2].triggers == (Trigger.WINDOW,)
    assert [request.apply for request in reconciler.asked(B)] == [True, False]
    assert len(log.events("window.closed")) == len(log.events("window.opened")) == 1


@pytest.mark.parametrize("days", [0, 1, 400])
async def test_a_clock_that_is_set_into_a_window_or_out_of_it_is_noticed(log: Log, days: int) -> None:
    """Within a minute the window holds back, and what waited is applied, whichever way the clock was set."""
    reconciler, step = FakeReconciler([A]), days * 86_400 + 5400
    async with running(reconciler, replace(QUIET, windows=(Window("0 1 * * *", 3600),))) as work:
        await work.passes(1)
        work.clock.step(step)
        await work.clock.advance(61)
        reconciler.scripts[A] = answering(pending=1)
        work.daemon.trigger(Trigger.SIGNAL)
        await work.passes(2)
        work.clock.step(-step)
        await work.clock.advance(61)
        assert [request.apply for request in reconciler.asked(A)] == [True, False, True]
        assert reconciler.asked(A)[2].triggers == (Trigger.WINDOW,)
        await work.clock.advance(3600)
    assert len(log.events("window.closed")) == 2
    assert len(log.events("window.opened")) == 1


async def test_a_window_that_opens_ends_a_pass_in_flight() -> None:
    """What is being applied when a window begins ends after its batch."""
    reconciler = FakeReconciler([A])
    reconciler.scripts[A] = until_stopped
    async with running(reconciler, replace(QUIET, windows=(Window("0 1 * * *", 3600),))) as work:
        await turns()
        assert reconciler.finished == []
        await work.clock.advance(3600)
        await work.passes(1)


async def test_pausing_holds_back_and_resuming_brings_a_pass(tmp_path: Path, log: Log) -> None:
    """`pause` and `resume` reach the daemon through the wake file, concern their target alone, and stop one in flight."""
    reconciler = FakeReconciler([A, B])
    async with running(reconciler, control_dir=tmp_path) as work:
        await work.passes(2)
        reconciler.scripts[A] = until_stopped
        work.daemon.trigger(Trigger.SIGNAL)
        await work.passes(3)
        reconciler.paused.add(A)
        wake(tmp_path)
        await work.passes(5)
        reconciler.paused.clear()
        reconciler.scripts[A] = succeed
        wake(tmp_path)
        await until(lambda: len(reconciler.asked(A)) == 4)
    assert [request.apply for request in reconciler.asked(A)] == [True, True, False, True]
    assert len(reconciler.asked(B)) == 2
    assert len(log.events("target.paused")) == len(log.events("target.resumed")) == 1


async def test_an_approval_wakes_a_parked_target(tmp_path: Path, log: Log) -> None:
    """A parked target is said to be parked once for each plan, and gets a pass when something was approved."""
    reconciler = FakeReconciler([A, B])
    reconciler.scripts[A] = answering(parked=("too many deletes",), digest="sha256:2", pending=3)
    async with running(reconciler, control_dir=tmp_path) as work:
        await work.passes(2)
        for _ in range(3):
            work.daemon.trigger(Trigger.SIGNAL)
            await turns()
        assert [event["digest"] for event in log.events("target.parked")] == ["sha256:2"]
        reconciler.requests.clear()
        reconciler.scripts[A] = succeed
        wake(tmp_path)
        await until(lambda: reconciler.requests)
        await turns()
    assert [(request.target, request.triggers) for request in reconciler.requests] == [(A, (Trigger.WAKE,))]
    assert len(log.events("target.released")) == 1


async def test_a_wake_retries_deferred_entries(tmp_path: Path) -> None:
    """A target with deferred entries gets a pass when one may have been released; another target gets none."""
    reconciler = FakeReconciler([A, B])
    reconciler.scripts[A] = answering(pending=1, deferred=1)
    async with running(reconciler, control_dir=tmp_path) as work:
        await work.passes(2)
        reconciler.requests.clear()
        reconciler.scripts[A] = succeed
        wake(tmp_path)
        await until(lambda: reconciler.requests)
        await turns()
    assert [(request.target, request.triggers) for request in reconciler.requests] == [(A, (Trigger.WAKE,))]


async def test_a_wake_during_a_pass_makes_another_one() -> None:
    """A pass in flight may have read what is deferred before it was released: it is followed by one that reads it again."""
    reconciler, go_on = FakeReconciler([A]), asyncio.Event()

    async def waits(request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        await go_on.wait()
        return PassResult(request.target)

    reconciler.scripts[A] = waits
    async with running(reconciler) as work:
        await until(lambda: reconciler.requests)
        work.daemon.trigger(Trigger.WAKE)
        await turns()
        go_on.set()
        await work.passes(2)
    assert [request.triggers for request in reconciler.requests] == [(Trigger.START,), (Trigger.WAKE,)]


def wake(control_dir: Path) -> None:
    (control_dir / "wake").touch()


async def test_files_are_watched(tmp_path: Path) -> None:
    """A change in a watched directory is a pass of whom it concerns; what is watched follows what was read."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    reconciler = FakeReconciler([A])
    reconciler.loaded = replace(reconciler.loaded, watch=(one,))
    async with running(reconciler, replace(QUIET, watch=True)) as work:
        await until(lambda: reconciler.loads == 2)  # what may have changed before it was watched
        reconciler.loaded = LoadedTargets({A: "2"}, watch=(two,))
        (one / "web.yaml").write_text("a")
        await work.passes(2)
        await until(lambda: reconciler.loads == 4)  # the new directory is armed
        reconciler.loaded = LoadedTargets({A: "3"}, watch=(two,))
        (two / "web.yaml").write_text("a")
        await work.passes(3)


async def test_sigusr1_reconciles_all_now() -> None:
    """SIGUSR1 is a pass of every target, also of one that backs off."""
    reconciler = FakeReconciler([A, B])
    reconciler.scripts[A] = raising(PermanentError("404"))
    async with running(reconciler) as work:
        await work.passes(1)
        os.kill(os.getpid(), signal.SIGUSR1)
        await until(lambda: len(reconciler.requests) == 4)
        assert work.recorder.rows[A]["error"] == "404 [KV3301]"


async def test_sighup_takes_a_new_configuration_into_force(log: Log) -> None:
    """SIGHUP reads the configuration and the files again, and its windows and beats hold from then on."""
    reconciler = FakeReconciler([A])
    always = Window("0 0 * * *", 86_400)
    reconciler.on_reload = lambda: replace(QUIET, windows=(always,), every=0.05, jitter=0)
    async with running(reconciler) as work:
        await work.passes(1)
        os.kill(os.getpid(), signal.SIGHUP)
        await work.passes(3)
    assert [request.apply for request in reconciler.requests[:3]] == [True, False, False]
    assert Trigger.CONFIG in reconciler.requests[1].triggers
    assert len(log.events("config.reloaded")) == 1


async def test_a_changed_configuration_comes_into_force_without_a_signal(log: Log) -> None:
    """When the files are looked at and the configuration is another one, it is loaded before them, and every target gets a
    pass."""
    reconciler = FakeReconciler([A, B])
    async with running(reconciler) as work:
        await work.passes(2)
        reconciler.has_new_config = True
        reconciler.on_load = lambda: LoadedTargets({A: str(reconciler.reloads), B: "1"})
        work.daemon.trigger(Trigger.FILES)
        await work.passes(4)
    assert reconciler.reloads == 1
    assert Trigger.CONFIG in reconciler.asked(B)[1].triggers
    assert len(log.events("config.reloaded")) == 1


async def test_files_that_are_being_written_are_looked_at_again() -> None:
    """While a file may still be being written the daemon looks again on its own, at its start and later."""
    reconciler = FakeReconciler([])
    moving = LoadedTargets({A: "1"}, look_again=0.01)
    reconciler.on_load = lambda: moving if reconciler.loads in (1, 2, 5) else LoadedTargets({A: str(reconciler.loads)})
    async with running(reconciler) as work:
        await work.clock.advance(0.02)
        assert reconciler.loads == 3
        work.daemon.trigger(Trigger.FILES)
        await until(lambda: reconciler.loads == 4)
        work.daemon.trigger(Trigger.FILES)
        await until(lambda: reconciler.loads == 6)


async def test_only_what_events_name_is_looked_at(tmp_path: Path) -> None:
    """An edit, and the look at whether it has rested, concern the paths that changed; any other trigger concerns all files, and
    so does a look that follows a failed one."""
    file, reconciler = (await asyncio.to_thread(tmp_path.resolve)) / "web.yaml", FakeReconciler([A])
    watched = LoadedTargets({A: "1"}, watch=(tmp_path,))

    def load() -> LoadedTargets:
        if reconciler.loads == 4:
            raise OSError("no")
        return replace(watched, look_again=0.01 if reconciler.loads == 6 else None)

    async def loaded(times: int) -> None:
        await until(lambda: reconciler.loads >= times)

    reconciler.on_load = load
    async with running(reconciler, replace(QUIET, watch=True)) as work:
        await loaded(2)  # what was armed is looked at once
        for trigger, touched in ((Trigger.FILES, [file]),) * 3 + ((Trigger.SIGNAL, None),):
            work.daemon.trigger(trigger, touched=touched)
            await loaded(reconciler.loads + 1)
        await loaded(7)
        events = frozenset({file})
        assert reconciler.touched == [None, None, events, events, None, None, frozenset()]
        await asyncio.to_thread(file.write_text, "a")
        await until(lambda: reconciler.touched[7:8] == [events])


@pytest.mark.parametrize("error", [InvalidInput([Problem("no", Origin("kvsync.yaml", 1, 1))]), RuntimeError("bug")])
async def test_a_broken_configuration_keeps_the_old_one(error: Exception, log: Log) -> None:
    """When the new configuration is broken the daemon says so and goes on with the old one."""
    reconciler = FakeReconciler([A])

    def fail() -> RunConfig:
        raise error

    reconciler.on_reload = fail
    async with running(reconciler, replace(QUIET, every=0.05, jitter=0)) as work:
        await work.passes(1)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: log.events("config.invalid"))
        count = len(reconciler.finished)
        await work.passes(count + 2)
    assert log.events("config.reloaded") == []


async def test_sigterm_lets_a_pass_in_flight_end() -> None:
    """Asked to leave, the daemon lets the batch in flight end, records it, begins no other pass, and leaves."""
    reconciler = FakeReconciler([A, B])
    reconciler.scripts[A] = until_stopped
    async with running(reconciler) as work:
        await work.passes(1)
        assert await work.stop() == DaemonResult("SIGTERM")
    assert reconciler.finished == [B, A]
    assert work.recorder.rows[A]["changes"] == {"applied": 1, "not-attempted": 9}
    assert len(reconciler.requests) == 2


async def test_a_second_sigterm_is_immediate() -> None:
    """A second signal does not wait for a pass that does not end."""
    reconciler = FakeReconciler([A])
    reconciler.scripts[A] = hanging
    async with running(reconciler, leave_within=3600) as work:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0)
        assert await work.stop() == DaemonResult("SIGTERM", unfinished=1)


async def test_a_target_that_vanishes_ends_its_pass_and_is_not_shown() -> None:
    """When no file names a target any more its pass in flight ends early, and `status` no longer shows it."""
    reconciler = FakeReconciler([A, B])
    reconciler.scripts[A] = until_stopped
    async with running(reconciler) as work:
        await work.passes(1)
        reconciler.loaded = LoadedTargets({B: "1"})
        work.daemon.trigger(Trigger.FILES)
        await work.passes(2)
        assert list(work.recorder.rows) == [B]


async def test_the_state_directory_takes_what_the_daemon_leaves(tmp_path: Path) -> None:
    """The rows of `status` are written into a real state directory, and its wake file wakes the daemon."""
    reconciler = FakeReconciler([A])
    with StateDir.open(tmp_path / "state", writable=True) as state:
        recorder: StatusStore = state.passes
        reconciler.scripts[A] = answering(changes={"applied": 2}, drift={"drifted": 1}, parked=("too many",))
        daemon = Daemon(
            reconciler, recorder, QUIET, DaemonOptions(notifier=SystemdNotifier({}), control_dir=state.control_dir)
        )
        task = asyncio.ensure_future(daemon.run())
        await until(state.passes.all)
        (row,) = state.passes.all()
        assert (row.target, row.changes, row.drift) == (A, {"applied": 2}, {"drifted": 1})
        await until(lambda: (found := state.passes.daemon()) and found.ready)
        state.wake()
        await until(lambda: len(reconciler.requests) == 2)
        os.kill(os.getpid(), signal.SIGTERM)
        await task
        assert state.passes.daemon() is None


async def test_many_targets_of_one_store_take_turns() -> None:
    """A store is not asked for all its targets at the same time; another store does not wait meanwhile."""
    many = [Target("edge", str(number)) for number in range(50)]
    reconciler, running_now, most = FakeReconciler([*many, C]), 0, 0

    async def counted(request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        await asyncio.sleep(0)
        running_now -= 1
        return PassResult(request.target)

    reconciler.scripts = dict.fromkeys(many, counted)
    async with running(reconciler) as work:
        await work.passes(51)
    assert 1 < most <= 8


async def test_everything_goes_on_while_files_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading that does not end delays neither scheduled passes nor wakes, and what it finds counts once it is over."""
    monkeypatch.setattr("kvsync.daemon.loading.PATIENCE", 0.01)
    reconciler, go_on = FakeReconciler([A]), asyncio.Event()
    async with running(reconciler) as work:
        await work.passes(1)

        async def slow(_: object) -> LoadedTargets:
            reconciler.loads += 1
            await go_on.wait()
            return LoadedTargets(dict.fromkeys((A, B), "2"))

        monkeypatch.setattr(reconciler, "load", slow)
        work.daemon.trigger(Trigger.FILES)
        await until(lambda: reconciler.loads == 2)
        for count in (2, 3):
            work.daemon.trigger(Trigger.SIGNAL)
            await work.passes(count)
        assert (reconciler.loads, reconciler.asked(B)) == (2, [])
        go_on.set()
        await until(lambda: reconciler.asked(B))
        assert reconciler.loads == 3  # what was asked for meanwhile, once


async def test_a_first_reading_that_does_not_end_is_left(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM ends the daemon, and a single pass, also before the files were ever read."""
    reconciler = FakeReconciler([A])

    async def never(_: object = None) -> LoadedTargets:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(reconciler, "load", never)
    async with running(reconciler) as work:
        result = await work.stop()
    assert (result.reason, reconciler.requests) == ("SIGTERM", [])
    once = asyncio.ensure_future(run_once(reconciler, FakeRecorder(), QUIET))
    await turns()
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(BOUND):
        done = await once
    assert (done.interrupted, done.results) == ("SIGTERM", ())


async def test_a_reading_that_fails_in_an_unexpected_way_ends_the_daemon() -> None:
    """A mistake of kvsync's is not hidden by reading in the background."""
    reconciler = FakeReconciler([A])
    async with running(reconciler) as work:
        await work.passes(1)
        work.daemon._parts.pool.manage = lambda _: 1 // 0  # type: ignore[assignment,method-assign]
        work.daemon.trigger(Trigger.FILES)
        with pytest.raises(ZeroDivisionError):
            await work.task
