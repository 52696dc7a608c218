"""Past runs for `kvsync history`: filtered, with their targets, and one run with its changes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kvsync.app.state_access import open_state
from kvsync.app.undo.choice import known_trigger, since
from kvsync.model.entry import Target
from kvsync.model.target_name import parse_target
from kvsync.rendering.words import moment
from kvsync.state import ChangeRecord, NamespaceRecord, RunFilter, RunRecord, StateDir
from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Which runs to list: of a target or a store, a commit, a trigger, since a run or a duration; at most `limit`."""

    limit: int = 100
    target: str | None = None
    commit: str | None = None
    since: str | None = None
    trigger: str | None = None


def list_runs(file: Path, environment: str | None, query: HistoryQuery) -> dict[str, Any]:
    """The newest runs that match, as plain data. Raises InvalidInput, UsageError, StateDirError."""
    with open_state(file, environment, writable=False) as (config, state):
        wanted = RunFilter() if query.since is None else since(state, query.since, time.time())
        if query.target is not None:
            store, namespace = parse_target(query.target, config.stores)
            wanted = replace(wanted, store=store, namespace=namespace)
        if query.trigger is not None:
            wanted = replace(wanted, trigger=known_trigger(query.trigger))
        wanted = replace(wanted, commit=query.commit.lower() if query.commit is not None else None)
        runs = state.runs.find(wanted, query.limit)
        return {"runs": run_documents(state, runs)}


def one_run(file: Path, environment: str | None, run: str) -> dict[str, Any]:
    """One run, named by the start of its id, with its changes. Raises InvalidInput, UsageError, StateDirError."""
    with open_state(file, environment, writable=False) as (_, state):
        found = state.journal.run(run)
        changes = state.journal.changes(found.id)
        return {"runs": run_documents(state, [found]), "changes": [change_document(one) for one in changes]}


def run_ids(state: StateDir, limit: int = 50) -> list[str]:
    """The ids of the last runs. Raises StateDirError."""
    return [run.id for run in state.runs.find(RunFilter(), limit)]


def run_documents(state: StateDir, runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Runs as plain data, with how many changes each intended in which target, the namespaces that it deleted, and its restore
    points. Raises StateDirError."""
    ids = [run.id for run in runs]
    targets, namespaces, kept = state.runs.targets(ids), state.runs.namespaces(ids), state.runs.restore_points(ids)
    return [_run_document(run, targets[run.id], namespaces[run.id]) | _restore_points(kept[run.id]) for run in runs]


def _restore_points(kept: Mapping[Target, str]) -> dict[str, Any]:
    """The restore points of a run, if it made any."""
    points = [{"store": target.store, "namespace": target.namespace, "name": kept[target]} for target in sorted(kept)]
    return {"restore_points": points} if points else {}


def _run_document(
    run: RunRecord, targets: Mapping[Target, int], namespaces: Sequence[NamespaceRecord]
) -> dict[str, Any]:
    return {
        "run": run.id,
        "command": run.command,
        "source": run.source,
        "environment": run.environment,
        "triggers": list(run.triggers),
        "started_at": moment(run.started_at),
        "finished_at": moment(run.finished_at) if run.finished_at is not None else None,
        "status": run.status.value,
        "targets": [
            {"store": target.store, "namespace": target.namespace, "changes": number}
            for target, number in sorted(targets.items())
        ],
        "changes": run.changes,
        "namespaces": [_namespace_document(one) for one in namespaces],
        "summary": dict(run.summary),
    }


def _namespace_document(one: NamespaceRecord) -> dict[str, Any]:
    return {
        "store": one.target.store,
        "namespace": one.target.namespace,
        "place": one.place,
        "outcome": one.outcome.value if one.outcome else None,
        "error": one.error,
        "at": moment(one.at),
    }


def change_document(change: ChangeRecord) -> dict[str, Any]:
    """One change of a run as plain data; never a value."""
    return {
        "store": change.target.store,
        "namespace": change.target.namespace,
        "key": change.identity.key,
        "label": change.identity.label,
        "action": change.action.value,
        "class": change.cause.value,
        "outcome": change.outcome.value if change.outcome else None,
        "error": change.error,
        "origin": change.origin,
        "etag": change.etag,
        "at": moment(change.settled_at if change.settled_at is not None else change.intended_at),
        "run": change.run,
    }
