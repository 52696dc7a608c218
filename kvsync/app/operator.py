"""Operator actions of the command line: each opens the state directory, does one thing, and wakes the daemon."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kvsync.app.state_access import open_state
from kvsync.config.model import Config
from kvsync.model.entry import Identity, Target
from kvsync.rendering.words import moment
from kvsync.state import ChangeRecord, ParkedRecord, Pause, RunRecord, StateDir
from kvsync.state import operator as actions
from kvsync.state.operator import Resumed
from kvsync.yaml.problems import nearest

_BY: Final = "command"


@dataclass(frozen=True, slots=True)
class Paused:
    """What became of a request to pause. `is_known` is false for a target that the daemon never saw, which is more likely
    misspelt than early; `near` is then the name that comes closest."""

    is_new: bool
    is_known: bool = True
    near: str | None = None


@dataclass(frozen=True, slots=True)
class Retried:
    """The deferred entries that are tried again, and the pauses that still hold some of them."""

    released: Sequence[tuple[Target, Identity]]
    pauses: Sequence[Pause]


class Operator:
    """What a person can do to the targets of a configuration. The methods raise InvalidInput, UsageError, StateDirError."""

    def __init__(self, file: Path, environment: str | None) -> None:
        self._file, self._environment = file, environment

    def approve(self, digest: str) -> list[ParkedRecord]:
        """Release what is parked under a hash. Raises NotApproved when nothing is."""
        with self._opened() as (_, state):
            return actions.approve(state, digest, time.time(), _BY)

    def pause(self, target: str, reason: str | None) -> Paused:
        """Leave a target, or all of a store, alone."""
        with self._opened() as (config, state):
            is_new = actions.pause(state, config.stores, target, reason, time.time(), _BY)
            names = [str(record.target) for record in state.passes.all()]
        if "/" not in target or not names or target in names:
            return Paused(is_new)
        return Paused(is_new, is_known=False, near=nearest(target, names))

    def resume(self, target: str) -> Resumed:
        """End the pause of a target, or of all of a store."""
        with self._opened() as (config, state):
            return actions.resume(state, config.stores, target, _BY)

    def retry(self, target: str, keys: Collection[str]) -> Retried:
        """Let the deferred entries of a target, or of a store, be tried again at once whose keys match one of the globs."""
        with self._opened() as (config, state):
            released = actions.retry(state, config.stores, target, keys, time.time(), _BY)
            targets = dict.fromkeys(one for one, _ in released)
            pauses = [pause for one in targets if (pause := state.pauses.find(one)) is not None]
        return Retried(released, list(dict.fromkeys(pauses)))

    def history(self, run: str | None, limit: int) -> dict[str, Any]:
        """The last runs as plain data; or one run, named by the start of its id, with its changes."""
        with open_state(self._file, self._environment, writable=False) as (_, state):
            if run is None:
                return {"runs": [run_document(one) for one in state.journal.runs(limit)]}
            found = state.journal.run(run)
            changes = state.journal.changes(found.id)
        return {"runs": [run_document(found)], "changes": [change_document(one) for one in changes]}

    @contextmanager
    def _opened(self) -> Iterator[tuple[Config, StateDir]]:
        with open_state(self._file, self._environment, writable=True) as (config, state):
            yield config, state
            state.wake()


def run_document(run: RunRecord) -> dict[str, Any]:
    """One run as plain data."""
    return {
        "run": run.id,
        "command": run.command,
        "source": run.source,
        "started_at": moment(run.started_at),
        "finished_at": moment(run.finished_at) if run.finished_at is not None else None,
        "status": run.status.value,
        "changes": run.changes,
        "summary": dict(run.summary),
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
