"""Builds the status snapshot from collected facts. Pure, except for a few small queries of the state directory."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from kvsync.daemon.ports import LoadedTargets
from kvsync.errors import StateDirError
from kvsync.model.entry import Target
from kvsync.model.plan import UnmanagedTarget
from kvsync.model.result import FAILURES, PassResult
from kvsync.rendering.words import short_hash
from kvsync.state import DriftPoint, ParkedRecord, PassRecord, PausesByTarget, StateDir
from kvsync.state.unmanaged import unmanaged_targets
from kvsync.status.fleet import FleetReader, elsewhere
from kvsync.status.plan_views import PendingPlan
from kvsync.status.run_views import recent_runs
from kvsync.status.snapshot import (
    EndView,
    Histogram,
    ParkedView,
    PassPoint,
    PauseView,
    ProcessView,
    RunView,
    State,
    StatusSnapshot,
    StoreView,
    TargetView,
)


@dataclass(frozen=True, slots=True)
class LastSeen:
    """What a pass saw of its target."""

    type: str = ""
    is_compared: bool = False
    unchanged: int = 0
    foreign: int = 0
    orphans: int = 0
    unhealed: Mapping[str, int] = field(default_factory=dict)
    end: EndView | None = None


@dataclass(frozen=True, slots=True)
class TargetRecord:
    """What is known of one target. `before` is what the state directory knew when the daemon started, `drift` what the last
    pass that saw the store found. `heard` is when a pass last had answers from the store, or the target became known
    (monotonic)."""

    passed: PassResult | None = None
    seen: LastSeen | None = None
    plan: PendingPlan | None = None
    before: PassRecord | None = None
    succeeded_at: float | None = None
    heard: float | None = None
    running: bool = False
    passes: int = 0
    drift: Mapping[str, int] = field(default_factory=dict)
    totals: Mapping[tuple[str, str], int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return len(self.plan.rows) if self.plan is not None else 0


@dataclass(frozen=True, slots=True)
class SnapshotInput:
    """The facts that a snapshot is built from, copied so that they do not change meanwhile."""

    at: float
    monotonic: float
    version: int
    process: ProcessView
    state: StateDir
    records: Mapping[Target, TargetRecord]
    loaded: LoadedTargets
    stores: tuple[StoreView, ...]
    durations: Mapping[str, Histogram]
    drift: tuple[DriftPoint, ...]
    runs: tuple[RunView, ...]
    passes: tuple[PassPoint, ...]
    hooks: Mapping[str, int]
    triggers: Mapping[str, int]
    fleet: FleetReader


@dataclass(frozen=True, slots=True)
class _RecordedFacts:
    """What the state directory records of all targets: parked plans, pauses, deferred and undone entries."""

    parked: Mapping[Target, ParkedRecord] = field(default_factory=dict)
    pauses: PausesByTarget = field(default_factory=lambda: PausesByTarget((), {}))
    quarantined: Mapping[Target, int] = field(default_factory=dict)
    contended: Mapping[Target, int] = field(default_factory=dict)
    undone: Mapping[Target, int] = field(default_factory=dict)

    def pause_of(self, target: Target) -> PauseView | None:
        """The pause of a target's store, else its own."""
        pause = self.pauses.of(target)
        if pause is None:
            return None
        return PauseView(str(pause), pause.reason, pause.since, f"kvsync resume {shlex.quote(str(pause))}")


def assemble(material: SnapshotInput) -> StatusSnapshot:
    """Build the snapshot."""
    recorded, errors = _recorded(material), _store_errors(material)
    fleet = material.fleet.view(material.at, material.monotonic)
    own = (_target(target, material, recorded) for target in material.records)
    types = {store.name: store.type for store in material.stores}
    others = (replace(one, type=types.get(one.target.store, "")) for one in elsewhere(fleet, material.records))
    targets = sorted((*own, *others), key=lambda view: view.target)
    return StatusSnapshot(
        at=material.at,
        version=material.version,
        process=material.process,
        targets=tuple(targets),
        stores=tuple(
            replace(store, error=errors.get(store.name), durations=material.durations.get(store.name))
            for store in material.stores
        ),
        problems=material.loaded.problems,
        drift=material.drift,
        runs=recent_runs(material.state, material.runs) if fleet is None else fleet.runs,
        replicas=fleet.replicas if fleet is not None and fleet.reports else None,
        passes=material.passes,
        hooks=material.hooks,
        triggers=material.triggers,
        unmanaged=_unmanaged(material),
    )


def state_of(view: TargetView, *, denied: bool) -> State:
    """The one state that represents a target; `denied` says whether a window denies applying now."""
    has_failures = any(view.changes.get(kind) for kind in FAILURES)
    holds = {
        State.FAILING: view.unavailable or has_failures or (view.error is not None and not view.problems),
        State.HELD: bool(view.problems),
        State.PARKED: view.parked is not None and view.parked.approved_at is None,
        State.PAUSED: view.pause is not None,
        State.DENIED: denied and bool(view.pending),
        State.DRIFTED: bool(view.unhealed),
        State.UNDONE: bool(view.undone),
        State.PENDING: bool(view.pending),
        State.WAITING: not view.passes,
        State.IN_SYNC: True,
    }
    return next(state for state in State if holds[state])


def _recorded(material: SnapshotInput) -> _RecordedFacts:
    """What is parked, paused and so on. A state directory that cannot be read is left out here, because every pass reports
    it."""
    state, now = material.state, material.at
    with suppress(StateDirError):
        return _RecordedFacts(
            {record.target: record for record in state.parked.all()},
            state.pauses.by_target(),
            state.quarantine.counts(now),
            state.contended.counts(now),
            state.undone.counts(),
        )
    return _RecordedFacts()


def _unmanaged(material: SnapshotInput) -> tuple[UnmanagedTarget, ...]:
    """The targets with orphans that no file names; none while it is not known what the files name."""
    loaded = material.loaded
    if loaded.hold_all or loaded.absent or material.process.files_at is None:
        return ()
    with suppress(StateDirError):
        owner, stores = material.process.owner, {store.name for store in material.stores}
        return unmanaged_targets(material.state, owner, stores, {*loaded.targets, *loaded.held, *loaded.elsewhere})
    return ()


def _target(target: Target, material: SnapshotInput, recorded: _RecordedFacts) -> TargetView:
    target_record = material.records[target]
    seen = target_record.seen or LastSeen()
    view = TargetView(
        target,
        seen.type,
        running=target_record.running,
        succeeded_at=target_record.succeeded_at,
        unheard=None if target_record.heard is None else max(material.monotonic - target_record.heard, 0),
        plan=target_record.plan,
        is_known=seen.is_compared,
        unchanged=seen.unchanged,
        foreign=seen.foreign,
        orphans=seen.orphans,
        unhealed=seen.unhealed,
        problems=material.loaded.hold_all + material.loaded.held.get(target, ()),
        pause=recorded.pause_of(target),
        nearest_end=seen.end,
        quarantined=recorded.quarantined.get(target, 0),
        contended=recorded.contended.get(target, 0),
        undone=recorded.undone.get(target, 0),
        totals=target_record.totals,
        passes=target_record.passes,
        drift=target_record.drift,
    )
    view = _with_pass(view, target_record, recorded)
    return replace(view, state=state_of(view, denied=material.process.window is not None))


def _with_pass(view: TargetView, target_record: TargetRecord, recorded: _RecordedFacts) -> TargetView:
    """The view with what the last pass said: the one of this process, else the one that is remembered."""
    result, before = target_record.passed, target_record.before
    if result is None:
        return view if before is None else replace(view, attempted_at=before.attempted_at)
    parked = _parked(result.digest, result.parked, recorded.parked.get(view.target)) if result.parked else None
    return replace(
        view,
        attempted_at=result.at,
        seconds=result.seconds,
        triggers=tuple(trigger.value for trigger in result.triggers),
        next_at=result.next_at,
        resting_until=result.resting_until,
        next_trigger=result.next_trigger.value if result.next_trigger else None,
        changes=result.changes,
        pending=result.pending,
        error=result.message,
        unavailable=result.unavailable,
        parked=parked,
        early=result.early,
    )


def _parked(digest: str, reasons: tuple[str, ...], record: ParkedRecord | None) -> ParkedView:
    command = f"kvsync approve {short_hash(digest)}"
    if record is None or record.digest != digest:
        return ParkedView(digest, reasons, command=command)
    return ParkedView(digest, reasons, record.since, record.approved_at, command)


def _store_errors(material: SnapshotInput) -> Mapping[str, str | None]:
    """Why stores could not be reached, by name: the first target's error of each."""
    errors: dict[str, str | None] = {}
    for target, target_record in material.records.items():
        if target_record.passed is not None and target_record.passed.unavailable:
            errors.setdefault(target.store, target_record.passed.message)
    return errors
