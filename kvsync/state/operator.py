"""Operator actions (approve, pause, resume, retry), shared by the CLI and the HTTP API. `by` records which of the two was
used.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from kvsync.errors import StandbyError
from kvsync.logs import get_logger
from kvsync.model.entry import Identity, Target, identity_order
from kvsync.model.target_name import parse_target
from kvsync.planning.compare import key_matcher
from kvsync.state import ParkedRecord, Pause, StateDir

_log = get_logger()


@dataclass(frozen=True, slots=True)
class Resumed:
    """What became of a request to end a pause: whether there was one, and the pause of the store, or of a former name, that
    still holds the target."""

    ended: bool
    still: Pause | None = None


def approve(state: StateDir, digest: str, now: float, by: str) -> list[ParkedRecord]:
    """Release what is parked under a hash. Raises UsageError, NotApproved, StandbyError, StateDirError."""
    _check_leads(state)
    released = state.parked.approve(digest, now)
    for record in released:
        _log.info("target.approved", **_names(record.target), digest=record.digest, by=by)
    return released


def pause(state: StateDir, stores: Collection[str], target: str, reason: str | None, now: float, by: str) -> bool:
    """Leave a target, or all of a store, alone; False when it was paused already, and only the reason is new. Raises
    UsageError, StateDirError."""
    store, namespace = parse_target(target, stores)
    _check_leads(state)
    is_new = state.pauses.pause(store, namespace, reason, now)
    _log.info("pause.begun", store=store, namespace=namespace, reason=reason, by=by)
    return is_new


def resume(state: StateDir, stores: Collection[str], target: str, by: str) -> Resumed:
    """End the pause of a target, or of all of a store, also of one that is no longer configured. Raises UsageError,
    StateDirError."""
    store, namespace = parse_target(target, {*stores, *(one.store for one in state.pauses.all())})
    _check_leads(state)
    ended = state.pauses.resume(store, namespace)
    if ended:
        _log.info("pause.ended", store=store, namespace=namespace, by=by)
    return Resumed(ended, state.pauses.find(Target(store, namespace)) if namespace is not None else None)


def retry(
    state: StateDir, stores: Collection[str], target: str, keys: Collection[str], now: float, by: str
) -> list[tuple[Target, Identity]]:
    """Let deferred entries be tried again at once: those of a target, or of a whole store, whose keys match one of the globs.
    Returns them. Raises UsageError, StateDirError."""
    store, namespace = parse_target(target, stores)
    _check_leads(state)
    is_meant = key_matcher(keys)
    released: list[tuple[Target, Identity]] = []
    for one in sorted({*state.quarantine.counts(now), *state.contended.counts(now), *state.undone.counts()}):
        if one.store == store and namespace in (None, one.namespace):
            released += [(one, identity) for identity in _released(state, one, is_meant, now)]
    for one, identity in released:
        _log.info("entry.released", **_names(one), key=identity.key, label=identity.label, by=by)
    return released


def _check_leads(state: StateDir) -> None:
    """Raise StandbyError if the daemon of this state directory does not hold the lease that it shares with others."""
    daemon = state.passes.daemon()
    if daemon is None or daemon.lease is None or daemon.lease.leads or daemon.pid != state.writer():
        return
    raise StandbyError(daemon.lease.name, daemon.lease.leader)


def _released(state: StateDir, target: Target, is_meant: Callable[[str], bool], now: float) -> list[Identity]:
    known = state.places.known(target)
    if known is None:
        return []
    waiting = (state.quarantine.held(known.place, now), state.contended.held(known.place, now))
    deferred = {*waiting[0], *waiting[1], *state.undone.all(known.place)}
    released = sorted((identity for identity in deferred if is_meant(identity.key)), key=identity_order)
    state.quarantine.clear(known.place, released)
    state.contended.remove(known.place, released)
    state.undone.remove(known.place, released)
    return released


def _names(target: Target) -> dict[str, str]:
    return {"store": target.store, "namespace": target.namespace}
