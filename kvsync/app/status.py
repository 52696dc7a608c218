"""Status of the daemon and of each target, read from the state directory."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from kvsync.app.open import open_workspace
from kvsync.app.owned import kept_orphans
from kvsync.app.revision import check_out
from kvsync.app.state_access import has_file, open_state
from kvsync.config.model import Config
from kvsync.errors import UsageError
from kvsync.git.model import Status
from kvsync.git.status import read_status
from kvsync.model.entry import Target
from kvsync.model.shard import Shard
from kvsync.rendering.words import moment
from kvsync.status.document import deletes_document, mark_configured, orphans_document, status_document
from kvsync.status.snapshot import State
from kvsync.yaml.problems import nearest

STATES: Final = tuple(state.value for state in State)
"""How a target can stand, in words."""


def current_status(file: Path, environment: str | None) -> dict[str, Any]:
    """The document `kvsync.status/1`, without a running daemon. Raises InvalidInput, StateDirError."""
    with open_state(file, environment, writable=False) as (config, state):
        budget = state.deletions.budget(config.run.max_deletes_per_hour)
        known = status_document(state, time.time()) | deletes_document(budget)
        stores = config.stores if has_file(file) else [pause.store for pause in state.pauses.all()]
        known |= {"paused": mark_configured(known["paused"], stores)}
        return known | {"source": _source(config), "environment": config.environment}


async def file_facts(file: Path, environment: str | None, shares: Mapping[str, str | None]) -> dict[str, Any]:
    """The parts of the document that the files decide: what kvsync owns and no file names, by target, and the targets in shares
    that no replica leads. Asks no store, fetches and decrypts nothing. Raises InvalidInput, StateDirError."""
    async with open_workspace(file, environment=environment, decrypts=False) as workspace:
        await check_out(workspace, offline=True, fetches=False, working=_quietly)
        loaded = workspace.load()
        orphans = orphans_document(workspace.unmanaged(loaded), kept_orphans(workspace, loaded))
        return {"orphans": orphans, "unassigned": _unassigned(loaded.managed, shares)}


def _unassigned(targets: Iterable[Target], shares: Mapping[str, str | None]) -> list[dict[str, Any]]:
    free = [Shard.parse(share) for share, leader in shares.items() if leader is None]
    owned = ((target, shard) for target in sorted(targets) for shard in free if shard.owns(target))
    return [{"store": one.store, "namespace": one.namespace, "share": str(shard)} for one, shard in owned]


def _quietly(_what: str) -> AbstractContextManager[None]:
    return nullcontext()


def narrowed(document: dict[str, Any], states: Collection[str], targets: Collection[str]) -> dict[str, Any]:
    """The document with only those targets that are in one of the states and are named, by store or as store/namespace; all,
    for what is not given. Raises UsageError for a state that does not exist and a target that is not known."""
    for state in states:
        if state not in STATES:
            near = nearest(state, STATES)
            hint = f" (did you mean {near}?)" if near else ""
            raise UsageError(f"unknown state {state!r}{hint}; the states are {', '.join(STATES)}")
    names = {name for one in (*document["targets"], *document["orphans"]) for name in _names(one)}
    for target in targets:
        if target not in names:
            near = nearest(target, names)
            hint = f" (did you mean {near}?)" if near else ""
            raise UsageError(f"the daemon does not know a target {target!r}{hint}")
    if not states and not targets:
        return document
    kept = [one for one in document["targets"] if _is_meant(one, states, targets)]
    of_kept = {(one["store"], one["namespace"]) for one in kept}
    parts = {
        name: [one for one in document[name] if (one["store"], one["namespace"]) in of_kept]
        for name in ("parked", "deferred", "overdue")
    }
    left = [one for one in document["orphans"] if not states and any(name in targets for name in _names(one))]
    return document | {"targets": kept, "orphans": left} | parts


def _names(one: dict[str, Any]) -> tuple[str, str]:
    return one["store"], f"{one['store']}/{one['namespace']}"


def _is_meant(one: dict[str, Any], states: Collection[str], targets: Collection[str]) -> bool:
    return (not states or one["state"] in states) and (not targets or any(name in targets for name in _names(one)))


def _source(config: Config) -> dict[str, Any] | None:
    """The commit in force, when the files come from a repository."""
    if config.source is None:
        return None
    source = config.source
    known = read_status(config.state_dir, source.url, source.ref) or Status(source.url, source.ref)
    moments = {"fetched_at": known.fetched_at, "attempted_at": known.attempted_at}
    return asdict(known) | {name: None if at is None else moment(at) for name, at in moments.items()}
