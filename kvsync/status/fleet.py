"""Targets of the other replicas that share the state, as each replica reports them."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from kvsync.errors import StateDirError
from kvsync.model.entry import Target
from kvsync.rendering.words import short_hash
from kvsync.state import ParkedRecord, PassRecord, PausesByTarget, StateDir
from kvsync.status.known_states import known_states
from kvsync.status.run_views import RUNS, run_of_journal
from kvsync.status.snapshot import ParkedView, PauseView, RunView, State, TargetView

_FRESH: Final = 2.0
"""Seconds for which the database is not asked again, however many people look."""


@dataclass(frozen=True, slots=True)
class FleetView:
    """The fleet: every target that had a pass, the newest runs, how many replicas live, and whether this one reports for
    all."""

    targets: tuple[TargetView, ...] = ()
    runs: tuple[RunView, ...] = ()
    replicas: int = 0
    reports: bool = False


class FleetReader:
    """Reads the fleet from a shared state. While that does not answer, the fleet is as it was."""

    def __init__(self, state: StateDir) -> None:
        self._state = state
        self._known: FleetView | None = None
        self._read_at = float("-inf")
        self._lock = threading.Lock()

    def view(self, now: float, monotonic: float) -> FleetView | None:
        """The fleet; None where the state is not shared."""
        if not self._state.is_shared:
            return None
        with self._lock:
            if monotonic >= self._read_at + _FRESH:
                self._read_at = monotonic
                self._read(now)
            return self._known

    def _read(self, now: float) -> None:
        state = self._state
        try:
            replicas, holders = state.replicas(), state.holders()
            parked = {one.target: one for one in state.parked.all()}
            pauses = state.pauses.by_target()
            passes, runs = state.passes.all(), state.journal.runs(RUNS)
            states = known_states(state, passes, now)
            targets = state.runs.targets([run.id for run in runs])
            self._known = FleetView(
                tuple(
                    _view(one, states[one.target], holders.get(one.target, ""), parked.get(one.target), pauses)
                    for one in passes
                ),
                tuple(run_of_journal(run, tuple(targets[run.id])) for run in runs),
                len(replicas),
                state.claims is not None and state.claims.me.id == min((one.id for one in replicas), default=""),
            )
        except StateDirError:
            return


def elsewhere(view: FleetView | None, own: Collection[Target]) -> tuple[TargetView, ...]:
    """The targets that this process does not work on."""
    return () if view is None else tuple(one for one in view.targets if one.target not in own)


def _view(
    record: PassRecord,
    state: State,
    replica: str,
    parked: ParkedRecord | None,
    pauses: PausesByTarget,
) -> TargetView:
    """A target as its last pass left it in the state."""
    pause = pauses.of(record.target)
    return TargetView(
        record.target,
        state=state,
        attempted_at=record.attempted_at,
        succeeded_at=record.succeeded_at,
        next_at=record.next_at,
        changes=record.changes,
        drift=record.drift,
        error=record.error,
        parked=None if parked is None else _parked(parked),
        pause=None
        if pause is None
        else PauseView(str(pause), pause.reason, pause.since, f"kvsync resume {shlex.quote(str(pause))}"),
        replica=replica or "no replica",
    )


def _parked(record: ParkedRecord) -> ParkedView:
    command = f"kvsync approve {short_hash(record.digest)}"
    return ParkedView(record.digest, record.reasons, record.since, record.approved_at, command)
