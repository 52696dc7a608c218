"""State of each target from the state directory, for processes other than the daemon."""

from __future__ import annotations

from collections.abc import Iterable

from kvsync.model.change import OutcomeKind
from kvsync.model.entry import Target
from kvsync.model.result import FAILURES
from kvsync.state import PassRecord, StateDir
from kvsync.status.snapshot import State

_LEFT = frozenset({OutcomeKind.REFUSED, OutcomeKind.SKIPPED, OutcomeKind.NOT_ATTEMPTED})


def known_states(state: StateDir, passes: Iterable[PassRecord], now: float) -> dict[Target, State]:
    """The states of the targets of these passes. Raises StateDirError."""
    parked = {one.target for one in state.parked.all() if one.approved_at is None}
    pauses = state.pauses.by_target()
    undone = state.undone.counts()
    deferred = {*state.quarantine.counts(now), *state.contended.counts(now)}
    daemon = state.passes.daemon()
    is_denied = daemon is not None and daemon.window is not None

    def of(record: PassRecord) -> State:
        target = record.target
        left = any(record.changes.get(kind) for kind in _LEFT)
        holds = {
            State.FAILING: record.error is not None or any(record.changes.get(kind) for kind in FAILURES),
            State.PARKED: target in parked,
            State.PAUSED: pauses.of(target) is not None,
            State.DENIED: is_denied and left,
            State.DRIFTED: bool(record.drift) and not record.changes.get(OutcomeKind.APPLIED),
            State.UNDONE: target in undone,
            State.PENDING: left or target in deferred,
            State.IN_SYNC: True,
        }
        return next(one for one in State if holds.get(one))

    return {record.target: of(record) for record in passes}
