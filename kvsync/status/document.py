"""JSON document of `kvsync status` and `/status`: `kvsync.status/1`.

The command reads the state directory and knows nothing of the running process. Over HTTP the same document has more: what each
target's passes saw, the stores, the past, the process itself.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from kvsync.errors import ErrorCode
from kvsync.model.entry import Target
from kvsync.model.plan import UnmanagedTarget
from kvsync.planning.deletion_limit import DeletionBudget
from kvsync.planning.waves import WaveRecord
from kvsync.rendering.problems import problem_document
from kvsync.rendering.words import moment
from kvsync.state import DaemonRecord, PassRecord, PlaceRecord, StateDir
from kvsync.status.known_states import known_states
from kvsync.status.plan_views import PendingPlan
from kvsync.status.snapshot import ProcessView, RunView, StatusSnapshot, StoreView, TargetView

if TYPE_CHECKING:
    from kvsync.state.claims import Replica

SCHEMA: Final = "kvsync.status/1"

_LEAST_DELAY: Final = 60.0
"""Seconds by which a pass may be late before its target counts as overdue."""

Document = dict[str, Any]


def status_document(state: StateDir, now: float) -> Document:
    """The document from what the state directory holds. Raises StateDirError."""
    daemon, writer, passes = state.passes.daemon(), state.writer(), state.passes.all()
    return {
        "schema": SCHEMA,
        "daemon": _daemon(daemon, writer) if daemon else None,
        "writer": writer,
        "replicas": [_replica(one) for one in state.replicas()],
        "lapsed": [_replica(one) for one in state.lapsed_replicas()],
        "targets": _targets(state, passes, now),
        "parked": _parked(state),
        "paused": [
            {"target": str(pause), "reason": pause.reason, "since": _moment(pause.since)}
            for pause in state.pauses.all()
        ],
        "deferred": _deferred(state, now),
        "overdue": [] if writer is None else _overdue(passes, now),
    }


def _overdue(passes: Iterable[PassRecord], now: float) -> list[Document]:
    """The targets whose next pass should have been recorded long ago: what is shown of them may be stale."""
    return [
        {**_names(one.target), "due_at": _moment(one.next_at)}
        for one in passes
        if one.next_at is not None and now > one.next_at + max(one.next_at - one.attempted_at, _LEAST_DELAY)
    ]


def deletes_document(budget: DeletionBudget) -> Document:
    """The deletes of the last hour; `free_at` is when more may follow once the limit is reached."""
    deletes = {"last_hour": budget.used, "limit": budget.limit, "free_at": _moment(budget.free_at)}
    return {"deletes": deletes}


def _deferred(state: StateDir, now: float) -> list[Document]:
    """How many entries of which target are deferred, and the command that retries them now."""
    quarantined, contended, undone = state.quarantine.counts(now), state.contended.counts(now), state.undone.counts()
    return [
        {
            **_names(target),
            "quarantined": quarantined.get(target, 0),
            "contended": contended.get(target, 0),
            "undone": undone.get(target, 0),
            "command": f"kvsync resume {shlex.quote(str(target))} --key '*'",
        }
        for target in sorted({*quarantined, *contended, *undone})
    ]


def snapshot_document(document: Document, snapshot: StatusSnapshot) -> Document:
    """The status document with everything in the snapshot. It includes targets of which the state directory has no pass, with
    the same fields."""
    known = {Target(one["store"], one["namespace"]): one for one in document["targets"]}
    return {
        **document,
        "paused": mark_configured(document["paused"], {store.name for store in snapshot.stores}),
        "at": _moment(snapshot.at),
        "version": snapshot.version,
        "process": _process(snapshot.process),
        "states": {state.value: number for state, number in snapshot.states().items()},
        "targets": [known.get(one.target, {}) | _target(one) for one in snapshot.targets],
        "stores": [_store(store) for store in snapshot.stores],
        "problems": [problem_document(problem) for problem in snapshot.problems],
        "drift": [
            {"at": _moment(point.at), **_names(point.target), "counts": dict(point.counts)} for point in snapshot.drift
        ],
        "runs": [_run(run) for run in snapshot.runs],
        "hooks": dict(snapshot.hooks),
        "triggers": dict(snapshot.triggers),
        "orphans": orphans_document(
            snapshot.unmanaged, ((one.target, one.orphans) for one in snapshot.targets if one.orphans)
        ),
    }


def orphans_document(unmanaged: Iterable[UnmanagedTarget], managed: Iterable[tuple[Target, int]]) -> list[Document]:
    """How many entries kvsync owns that no file names: in targets that no file names, and in others, where the policy lets
    orphans stay."""
    return [
        *(
            {**_names(one.target), "managed": False, "configured": one.is_configured, "orphans": one.orphans}
            for one in unmanaged
        ),
        *({**_names(target), "managed": True, "configured": True, "orphans": number} for target, number in managed),
    ]


def mark_configured(pauses: Iterable[Document], stores: Container[str]) -> list[Document]:
    """Add to each pause whether its store is configured. If a store was renamed, a pause under its old name holds nothing."""
    return [one | {"configured": one["target"].partition("/")[0] in stores} for one in pauses]


def _replica(replica: Replica) -> Document:
    return {
        "id": replica.id,
        "host": replica.host,
        "pid": replica.pid,
        "version": replica.version,
        "targets": replica.targets,
        "load": round(replica.load, 3),
        "revision": replica.revision,
        "started_at": _moment(replica.started_at),
        "seen_at": _moment(replica.seen_at),
    }


def _daemon(daemon: DaemonRecord, writer: int | None) -> Document:
    return {
        "running": daemon.pid == writer or (daemon.mode == "observe" and _is_alive(daemon.pid)),
        "pid": daemon.pid,
        "mode": daemon.mode,
        "version": daemon.version,
        "ready": daemon.ready,
        "window": daemon.window,
        "lease": None if daemon.lease is None else asdict(daemon.lease),
        "started_at": _moment(daemon.started_at),
        "updated_at": _moment(daemon.updated_at),
    }


def _targets(state: StateDir, passes: Sequence[PassRecord], now: float) -> list[Document]:
    places, waves = state.places.all(), state.waves.all()
    states = known_states(state, passes, now)  # others write meanwhile
    return [
        {
            **_names(one.target),
            "state": states[one.target].value,
            "attempted_at": _moment(one.attempted_at),
            "succeeded_at": _moment(one.succeeded_at),
            "next_at": _moment(one.next_at),
            "drift": dict(one.drift),
            "changes": dict(one.changes),
            "error": one.error,
            "place": _place(places.get(one.target)),
            "wave": _wave(waves.get(one.target), state),
        }
        for one in passes
    ]


def _place(known: PlaceRecord | None) -> Document | None:
    """Where a target leads, and where it led before."""
    if known is None:
        return None
    return {"description": known.description, "since": _moment(known.since), "previous": known.previous}


def _wave(known: WaveRecord | None, state: StateDir) -> Document | None:
    """Since when a target of a wave has been in sync, or why it is not; None where no waves are configured."""
    if known is None:
        return None
    since = _moment(state.waves.to_wall_clock(known.since)) if known.failure is None else None
    return {"in_sync_since": since, "reason": known.failure}


def _parked(state: StateDir) -> list[Document]:
    return [
        {
            **_names(one.target),
            "digest": one.digest,
            "reasons": list(one.reasons),
            "code": ErrorCode.PARKED,
            "since": _moment(one.since),
            "approved_at": _moment(one.approved_at),
        }
        for one in state.parked.all()
    ]


def _process(process: ProcessView) -> Document:
    moments = ("started_at", "window_changes_at", "next_beat", "files_at")
    return asdict(process) | {name: _moment(getattr(process, name)) for name in moments}


def _target(view: TargetView) -> Document:
    """A target of the snapshot. Fields that the state directory has too are taken from the process, where they are as
    recent."""
    end, pause = view.nearest_end, view.pause
    return {
        **_names(view.target),
        "type": view.type,
        "state": view.state.value,
        "running": view.running,
        "attempted_at": _moment(view.attempted_at),
        "succeeded_at": _moment(view.succeeded_at),
        "seconds": None if view.seconds is None else round(view.seconds, 3),
        "triggers": list(view.triggers),
        "next_at": _moment(view.next_at),
        "next_trigger": view.next_trigger,
        "resting_until": _moment(view.resting_until),
        "drift": dict(view.drift),
        "unhealed": dict(view.unhealed),
        "changes": dict(view.changes),
        "pending": view.pending,
        "plan": _plan(view.plan),
        "unchanged": view.unchanged if view.is_known else None,
        "foreign": view.foreign if view.is_known else None,
        "orphans": view.orphans if view.is_known else None,
        "error": view.error,
        "early": view.early,
        "replica": view.replica,
        "problems": [problem_document(problem) for problem in view.problems],
        "paused": None
        if pause is None
        else {"target": pause.name, "reason": pause.reason, "since": _moment(pause.since)},
        "nearest_end": None if end is None else {"entry": end.name, "at": _moment(end.at)},
        "quarantined": view.quarantined,
        "contended": view.contended,
        "undone": view.undone,
        "passes": view.passes,
        "outcomes": [
            {"action": action, "outcome": outcome, "count": number}
            for (action, outcome), number in sorted(view.totals.items())
        ],
    }


def _plan(plan: PendingPlan | None) -> Document | None:
    """How much is pending; what it is, `kvsync plan -o json` says in full."""
    if plan is None:
        return None
    return {"digest": plan.digest, "counts": dict(plan.counts), "cost": plan.cost}


def _store(store: StoreView) -> Document:
    return {
        "name": store.name,
        "type": store.type,
        "requests": dict(sorted(store.requests.items())),
        "bytes_sent": store.bytes_sent,
        "bytes_received": store.bytes_received,
        "quota_left": store.quota_left,
        "error": store.error,
        "waiting": store.waiting,
    }


def _run(run: RunView) -> Document:
    target: Mapping[str, str | None] = {"store": None, "namespace": None} if run.target is None else _names(run.target)
    return {
        "run": run.id,
        "command": run.command,
        "at": _moment(run.at),
        "status": run.status,
        **target,
        "source": run.source,
        "triggers": list(run.triggers),
        "seconds": None if run.seconds is None else round(run.seconds, 3),
        "outcomes": dict(run.counts),
        "applied": dict(run.actions),
    }


def _names(target: Target) -> dict[str, str]:
    return {"store": target.store, "namespace": target.namespace}


def _moment(epoch: float | None) -> str | None:
    return None if epoch is None else moment(epoch)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True
