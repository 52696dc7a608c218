"""What is collected: how targets stand, what was before, and that it stays small."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvsync.daemon.ports import LoadedTargets, PassRequest
from kvsync.errors import Problem
from kvsync.model.change import Action, Change, Class, Outcome, OutcomeKind, Refusal
from kvsync.model.entry import Identity, Target
from kvsync.model.plan import TargetPlan, TargetReport
from kvsync.model.result import PassResult, Trigger
from kvsync.state import StateDir
from kvsync.status.assemble import state_of
from kvsync.status.collector import DRIFT_POINTS, Collector
from kvsync.status.pending_rows import unhealed
from kvsync.status.readiness import PATIENCE
from kvsync.status.run_views import RUNS
from kvsync.status.snapshot import ParkedView, PauseView, ProcessView, State, StoreView, TargetView
from kvsync.status.target_reports import MOST_ROWS_IN_ALL, CollectorSettings
from kvsync.testing import FakeClock
from kvsync.util.clock import Clock
from tests.status.support import live
from tests.support.memory_repository import MemoryRepository

WEB = Target("main", "web")


class CollectorArguments:
    """What a collector is given."""

    stores = (StoreView("main", "sqlite", {"none": 1}),)
    commit = "c0ffee"


def collector(state: StateDir) -> Collector:
    process = ProcessView(1, "0", "apply", 0.0, "team-a")
    return Collector(CollectorSettings(process, state, Clock(), str), CollectorArguments())


def passed(target: Target, **fields: Any) -> PassResult:
    return PassResult(target, triggers=(Trigger.SCHEDULE,), at=1.0, seconds=0.1, **fields)


def report(target: Target, changes: int, kind: OutcomeKind = OutcomeKind.APPLIED) -> TargetReport:
    wanted = [Change(Action.DELETE, Class.DRIFTED, Identity(f"k{number}")) for number in range(changes)]
    outcomes = [Outcome(change.identity, change.action, kind) for change in wanted]
    return TargetReport(TargetPlan(target, "sqlite", "sha256:0", changes=tuple(wanted)), tuple(outcomes))


SYNC = TargetView(WEB, passes=1)
PAUSE = PauseView("main", None, 0.0, "kvsync resume main")
PARKED = ParkedView("sha256:0", ("too much",))
PROBLEM = (Problem("wrong"),)
STANDS = [
    (TargetView(WEB), False, State.WAITING),
    (SYNC, False, State.IN_SYNC),
    (SYNC, True, State.IN_SYNC),
    (replace(SYNC, pending=1), False, State.PENDING),
    (replace(SYNC, pending=1), True, State.DENIED),
    (replace(SYNC, pending=1, drift={"drifted": 1}, unhealed={"drifted": 1}), False, State.DRIFTED),
    (replace(SYNC, drift={"drifted": 1}), False, State.IN_SYNC),
    (replace(SYNC, pause=PAUSE), False, State.PAUSED),
    (replace(SYNC, pause=PAUSE, parked=PARKED), False, State.PARKED),
    (replace(SYNC, parked=replace(PARKED, approved_at=1.0)), False, State.IN_SYNC),
    (replace(SYNC, parked=PARKED, problems=PROBLEM), False, State.HELD),
    (replace(SYNC, problems=PROBLEM, error="wrong"), False, State.HELD),
    (replace(SYNC, problems=PROBLEM, error="gone", unavailable=True), False, State.FAILING),
    (replace(SYNC, error="gone"), False, State.FAILING),
    (replace(SYNC, changes={"conflict": 1, "applied": 2}), False, State.FAILING),
]


@pytest.mark.parametrize(("view", "denied", "state"), STANDS)
def test_how_a_target_stands(view: TargetView, denied: bool, state: State) -> None:
    """One state represents a target: of those that hold, the one that needs a person first."""
    assert state_of(view, denied=denied) is state


def test_deferred_drift_is_unhealed() -> None:
    """Drift that waits counts as left as it was; a refused write that is not drift does not."""
    web = Target("main", "web")
    refused = []
    for key, cause in (("a", Class.DRIFTED), ("b", Class.NEW)):
        waits = Change(Action.UPDATE, cause, Identity(key))
        refused.append(Refusal(waits.identity, cause, waits.action, "it waits", deferred=waits))
    refused.append(Refusal(Identity("c"), Class.DRIFTED, Action.UPDATE, "it does not"))
    plan = TargetPlan(web, "memory", "sha256:0", refused=tuple(refused))
    assert unhealed(TargetReport(plan)) == {"drifted": 1}


async def test_everything_grows_with_the_targets_and_not_with_time(tmp_path: Path) -> None:
    """Thousands of passes with drift, runs and pending plans leave no more behind than hundreds did."""
    with StateDir.open(tmp_path / "state", writable=True) as state:
        found = collector(state)
        targets = frozenset(Target("main", f"n{number}") for number in range(20))
        found.files_loaded(targets, LoadedTargets(dict.fromkeys(targets, "")))

        def round_of_passes(number: int) -> None:
            for target in targets:
                found.pass_started(PassRequest(target))
                done = {"report": report(target, 5, OutcomeKind.FAILED), "run": f"run-{number}"}
                found.pass_done(passed(target, drift={"drifted": number % 3}, pending=5, **done))

        for number in range(100):
            round_of_passes(number)
        gc.collect()
        tracemalloc.start()
        for number in range(100, 200):
            round_of_passes(number)
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        snapshot = await found.snapshot()
    assert (len(snapshot.runs), len(snapshot.drift)) == (RUNS, DRIFT_POINTS)
    assert all(len(view.plan.rows) == 5 for view in snapshot.targets if view.plan)
    assert sum(view.passes for view in snapshot.targets) == 200 * 20
    assert grown < 1_000_000  # what replaced its like was allocated again; 2,000 more of anything would be beyond this


async def test_rows_are_bounded_over_all_targets(tmp_path: Path) -> None:
    """However much is pending: each target has a hundred rows, all together five thousand, and each says how many it hides."""
    with StateDir.open(tmp_path / "state", writable=True) as state:
        found = collector(state)
        targets = [Target("main", f"n{number:03}") for number in range(60)]
        found.files_loaded(frozenset(targets), LoadedTargets(dict.fromkeys(targets, "")))
        for _ in range(2):
            for target in targets:
                found.pass_done(passed(target, pending=150, report=report(target, 150, OutcomeKind.FAILED)))
        plans = [view.plan for view in (await found.snapshot()).targets]
        assert sum(len(plan.rows) for plan in plans if plan) == MOST_ROWS_IN_ALL
        assert all(len(plan.rows) + plan.hidden == 150 for plan in plans if plan)
        found.files_loaded(frozenset(), LoadedTargets({}))
        assert found._reports.rows == 0


async def test_a_target_that_comes_late_is_forgotten(tmp_path: Path) -> None:
    """What a pass of a target tells that no file names any more is dropped."""
    with StateDir.open(tmp_path / "state", writable=True) as state:
        found = collector(state)
        found.files_loaded(frozenset({WEB}), LoadedTargets({WEB: ""}))
        gone = Target("main", "gone")
        found.pass_started(PassRequest(gone))
        found.pass_done(passed(gone, report=report(gone, 3), run="run"))
        assert [view.target for view in (await found.snapshot()).targets] == [WEB]


async def test_news_wakes_who_waits(tmp_path: Path) -> None:
    """Whoever waits for news hears of the next event, and the version has grown."""
    with StateDir.open(tmp_path / "state", writable=True) as state:
        found = collector(state)
        waiting, version = asyncio.create_task(found.news()), found.version
        await asyncio.sleep(0)
        found.tick_scheduled(1.0)
        await waiting
        assert found.version == version + 1


async def test_the_past_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart the snapshot knows the runs, the drift over time and the last success of before."""
    repo = MemoryRepository(tmp_path, monkeypatch)
    repo.configure(more="run: {every: 1h, listen: '127.0.0.1:0'}\n")
    repo.want({"a": 1})
    async with live(repo) as daemon:
        await daemon.becomes("in-sync")
    repo.edit("a", "theirs")
    async with live(repo) as daemon:
        await daemon.becomes("in-sync", passes=1)
        first = await daemon.status()
    async with live(repo) as daemon:
        await daemon.becomes("in-sync", passes=1)
        again = await daemon.status()
    assert [run["outcomes"] for run in first["runs"]] == [{"applied": 1}] * 2
    assert [run["run"] for run in again["runs"]] == [run["run"] for run in first["runs"]]
    assert [point["counts"] for point in first["drift"]] == [{"drifted": 1}]
    assert [point["counts"] for point in again["drift"]] == [{"drifted": 1}, {}]


async def test_an_observing_daemon_shows_what_it_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --observe drift and pending changes are on the snapshot, and stay."""
    repo = MemoryRepository(tmp_path, monkeypatch)
    repo.configure(more="run: {every: 1h, listen: '127.0.0.1:0'}\n")
    await repo.settle({"a": 1})
    repo.edit("a", "theirs")
    async with live(repo, observe=True) as daemon:
        found = await daemon.becomes("drifted")
        assert (found["unhealed"], found["pending"]) == ({"drifted": 1}, 1)
        metrics = await daemon.metrics()
    assert metrics['kvsync_target_unhealed_entries{namespace="web",store="main"}'] == 1
    assert metrics["kvsync_observing"] == 1
    assert repo.held("a") == "theirs"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDir]:
    with StateDir.open(tmp_path / "state", writable=True) as opened:
        yield opened


def looking(state: StateDir) -> tuple[Collector, FakeClock]:
    """A collector of one target that had its first pass."""
    clock = FakeClock()
    found = Collector(
        CollectorSettings(ProcessView(1, "0", "apply", 0.0, "team-a"), state, clock, str), CollectorArguments()
    )
    found.files_loaded(frozenset({WEB}), LoadedTargets({WEB: "1"}))
    found.pass_done(passed(WEB, report=report(WEB, 0)))
    return found, clock


def test_readiness_ends_when_no_pass_ends_any_more(state: StateDir) -> None:
    """A pass that hangs, and a schedule that stopped, end readiness; the next pass that ends brings it back."""
    for is_scheduled in (False, True):
        found, clock = looking(state)
        if is_scheduled:
            found.tick_scheduled(clock.now() + 60)
        else:
            found.pass_started(PassRequest(WEB))
        clock.advance(PATIENCE - 1)
        assert (found.ready, found.stuck) == (True, False)
        clock.advance(100)
        assert (found.ready, found.stuck) == (False, True)
        found.pass_done(passed(WEB))
        found.tick_scheduled(None)
        assert found.ready


def test_one_pass_that_hangs_is_not_a_reason_while_others_end(state: StateDir) -> None:
    """Readiness is about the daemon: one target that hangs is seen in its own metric."""
    found, clock = looking(state)
    other = Target("main", "other")
    found.files_loaded(frozenset({WEB, other}), LoadedTargets({WEB: "1", other: "1"}))
    found.pass_started(PassRequest(WEB))
    for _ in range(10):
        clock.advance(PATIENCE / 2)
        found.pass_done(passed(other, report=report(other, 0)))
    assert found.ready


async def test_when_a_store_last_answered_is_known_by_the_monotonic_clock(state: StateDir) -> None:
    """A pass that the store fails is not an answer; setting the wall clock changes nothing."""
    found, clock = looking(state)
    clock.advance(100)
    found.pass_done(passed(WEB, error="503", unavailable=True))
    (view,) = (await found.snapshot()).targets
    assert view.unheard == 100
    found.pass_done(passed(WEB, report=report(WEB, 0)))
    (view,) = (await found.snapshot()).targets
    assert view.unheard == 0
