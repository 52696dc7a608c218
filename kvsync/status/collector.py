"""Collects the status snapshot from daemon events, pass results, and the state directory.

Memory grows with the targets, not with time. Only the daemon's loop writes here. A snapshot is built in a thread of its own,
from frozen values, so that ten thousand targets delay neither passes nor the watchdog.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final, Protocol

from kvsync.daemon.observer import DaemonObserver
from kvsync.daemon.ports import LoadedTargets, PassRequest
from kvsync.errors import StateDirError
from kvsync.model.entry import Target
from kvsync.model.result import PassResult, Trigger
from kvsync.state import DriftPoint
from kvsync.state.passes import DaemonRecord
from kvsync.status.assemble import SnapshotInput, TargetRecord, assemble
from kvsync.status.durations import Durations
from kvsync.status.fleet import FleetReader
from kvsync.status.readiness import PassWatch
from kvsync.status.run_views import RUNS, run_of_journal, run_of_pass
from kvsync.status.snapshot import PassPoint, RunView, StatusSnapshot, StoreView
from kvsync.status.target_reports import CollectorSettings, TargetReports

DRIFT_POINTS: Final = 1_000
PASSES: Final = 2_000
"""How much of the past is shown."""


class CollectorContext(Protocol):
    """What a collector reads whenever it builds a snapshot."""

    @property
    def stores(self) -> tuple[StoreView, ...]:
        """The configured stores, by name, with what they cost so far; their `error` and `durations` are added here."""
        ...

    @property
    def commit(self) -> str | None:
        """The commit that the files are at."""
        ...


class Collector(DaemonObserver):
    """Collects what is seen. `news` is set, and replaced, at every event; `version` counts them."""

    def __init__(self, settings: CollectorSettings, context: CollectorContext) -> None:
        self.version = 0
        self.hooks: Counter[str] = Counter()
        self.leaving = asyncio.Event()
        self._settings, self._context = settings, context
        self._had_first_passes = False
        self._passes = PassWatch(settings.clock)
        self._news = asyncio.Event()
        self._process = settings.process
        self._records: dict[Target, TargetRecord] = {}
        self._unseen: set[Target] = set()
        self._loaded = LoadedTargets({})
        self._durations: dict[str, Durations] = {}
        self._triggers: Counter[str] = Counter()
        self._drift: deque[DriftPoint] = deque(maxlen=DRIFT_POINTS)
        self._runs: deque[RunView] = deque(maxlen=RUNS)
        self._pass_points: deque[PassPoint] = deque(maxlen=PASSES)
        self._reports = TargetReports(settings)
        self._fleet = FleetReader(settings.state)
        self.backlog: Callable[[], int] = lambda: 0
        """How many passes are due and have not begun."""
        with suppress(StateDirError):
            self._remember()

    # -- what is asked of it ------------------------------------------------------------------------------------------

    async def snapshot(self) -> StatusSnapshot:
        """Everything that can be seen at this moment."""
        return await asyncio.to_thread(assemble, self._snapshot_input())

    async def news(self) -> None:
        """Return at the next event."""
        await self._news.wait()

    @property
    def ready(self) -> bool:
        """True when every target had its first pass, and passes come and end as they should."""
        return self._had_first_passes and not self.stuck

    @property
    def stuck(self) -> bool:
        """True when passes are due, and none has ended for `readiness.PATIENCE`."""
        return self._passes.is_stuck(has_targets=bool(self._records))

    @property
    def waiting(self) -> int:
        """How many targets have not had their first pass."""
        return len(self._unseen)

    def hooked(self, result: str) -> None:
        """Count a request to the hook."""
        self.hooks[result] += 1
        self.changed()

    def changed(self) -> None:
        """Report a change that is not reported in another way."""
        self.version += 1
        news, self._news = self._news, asyncio.Event()
        news.set()

    # -- events of the daemon -----------------------------------------------------------------------------------------

    def triggered(self, trigger: Trigger) -> None:
        """Count it."""
        self._triggers[trigger.value] += 1

    def files_loaded(self, targets: frozenset[Target], loaded: LoadedTargets) -> None:
        """Forget all targets but these."""
        for target in self._records.keys() - targets:
            self._reports.drop(self._records.pop(target))
        for target in targets - self._records.keys():
            self._records[target] = TargetRecord(heard=self._settings.clock.monotonic())
        self._passes.keep(targets)
        stores = {target.store for target in targets}
        for store in self._durations.keys() - stores:
            del self._durations[store]
        self._unseen = {target for target in targets if self._records[target].passed is None}
        self._loaded = loaded
        self._process = replace(self._process, files_at=self._settings.clock.now(), commit=self._context.commit)
        self._look_ready()
        self.changed()

    def tick_scheduled(self, next_tick: float | None) -> None:
        """Note the next scheduled pass."""
        self._passes.scheduled(next_tick)
        self._process = replace(self._process, next_beat=next_tick)
        self.changed()

    def pass_started(self, request: PassRequest) -> None:
        """Note that it runs."""
        target_record = self._records.get(request.target)
        if target_record is not None:
            self._passes.started(request.target)
            self._records[request.target] = replace(target_record, running=True)
            self.changed()

    def pass_done(self, result: PassResult) -> None:
        """Note what a pass saw and did, and how it ended."""
        self._passes.ended(result.target)
        self._pass_points.append(PassPoint(result.at, result.ok))
        target_record = self._records.get(result.target)
        if target_record is None:  # no file names it any more
            return
        after = replace(target_record, passed=result.brief(), running=False, passes=target_record.passes + 1)
        if result.report is not None:
            after = self._reports.added(after, result.report, has_run=result.run is not None)
            if result.run is not None:
                self._runs.append(run_of_pass(result.run, result.report, result, self._process.commit))
        if result.report is not None and result.report.plan.error is None and not result.unavailable:
            after = replace(after, heard=self._settings.clock.monotonic())
        if result.error is None:
            after = replace(after, succeeded_at=result.at)
            if dict(result.drift) != dict(target_record.drift):
                after = replace(after, drift=dict(result.drift))
                self._drift.append(DriftPoint(result.at, result.target, dict(result.drift)))
        self._records[result.target] = after
        self._unseen.discard(result.target)
        self._durations.setdefault(result.target.store, Durations()).add(result.seconds)
        self._look_ready()
        self.changed()

    def daemon_changed(self, daemon: DaemonRecord, window_changes_at: float | None) -> None:
        """Note mode, window and leader."""
        self._process = replace(
            self._process,
            mode=daemon.mode,
            window=daemon.window,
            window_changes_at=window_changes_at,
            leader=daemon.mode == "apply" and (daemon.lease is None or daemon.lease.leads),
            lease=daemon.lease,
        )
        self.changed()

    def stopping(self) -> None:
        """Wake all who wait for news, because the daemon stops."""
        self.leaving.set()
        self.changed()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _look_ready(self) -> None:
        """Ready once every target had its first pass; then for good, whatever targets come."""
        self._had_first_passes = self._had_first_passes or not self.waiting

    def _snapshot_input(self) -> SnapshotInput:
        process = replace(self._process, ready=self.ready, backlog=self.backlog())
        return SnapshotInput(
            at=self._settings.clock.now(),
            monotonic=self._settings.clock.monotonic(),
            version=self.version,
            process=process,
            state=self._settings.state,
            records=dict(self._records),
            loaded=self._loaded,
            stores=self._context.stores,
            durations={store: durations.histogram() for store, durations in self._durations.items()},
            drift=tuple(self._drift),
            runs=tuple(reversed(self._runs)),
            passes=tuple(self._pass_points),
            hooks=dict(self.hooks),
            triggers=dict(self._triggers),
            fleet=self._fleet,
        )

    def _remember(self) -> None:
        """Begin with what the state directory knows of the time before."""
        state = self._settings.state
        runs = state.journal.runs(RUNS)
        targets = state.runs.targets([run.id for run in runs])
        self._runs.extend(run_of_journal(run, tuple(targets[run.id])) for run in reversed(runs))
        last: dict[Target, dict[str, int]] = {}
        for point in state.passes.drift_history(limit=10 * DRIFT_POINTS):
            if dict(point.counts) != last.get(point.target, {}):
                last[point.target] = dict(point.counts)
                self._drift.append(point)
        now = self._settings.clock.monotonic()
        for record in state.passes.all():
            drift = last.get(record.target, {})
            known = TargetRecord(before=record, succeeded_at=record.succeeded_at, drift=drift, heard=now)
            self._records[record.target] = known
