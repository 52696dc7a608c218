"""Journal of runs: intent before each change and outcome after it, for recovery and undo.

    begin ──> intend ──> (the store is written) ──> settle ──> … ──> finish
                │                                     │
                └ one transaction a batch             └ one transaction: outcomes, and the ledger with them

An intent without an outcome says that the run was killed in between, and that only the store knows what became of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

from kvsync.errors import UsageError
from kvsync.model.change import Action, Class, OutcomeKind
from kvsync.model.entry import Actual, Applied, Identity, Target
from kvsync.model.place import LocatedTarget
from kvsync.state.before import before_of
from kvsync.state.context import Context
from kvsync.state.database import Query
from kvsync.state.journal_pruning import KEEP_RUNS, JournalPruning
from kvsync.state.ledger import Ledger
from kvsync.state.places import changes_at
from kvsync.state.records import ChangeRecord, RunCause, RunRecord, RunStatus
from kvsync.state.rows import SEQ_BITS, counts_of, entry_row, identity_of, name_key, state_key
from kvsync.state.run import Run
from kvsync.state.tables import CHANGES, RUNS

RUN_ROWS = f"""
SELECT id, command, source, started_at, finished_at, status, summary, (
    SELECT count(*) FROM changes WHERE changes.seq >= runs.seq << {SEQ_BITS} AND changes.seq < runs.seq + 1 << {SEQ_BITS}
), environment, triggers FROM runs
"""  # noqa: S608 - constants
_CHANGES = f"""
SELECT runs.id, changes.store, namespace, key, label, action, cause, before, before_value, after, sensitive, origin,
    intended_at, outcome, error, etag, settled_at, place
FROM changes JOIN runs ON runs.seq = changes.seq >> {SEQ_BITS}
"""  # noqa: S608 - constants

_LONGEST_RUN = 86400.0
"""A run without an end, under way or killed, is looked at when it began no longer ago than this (seconds)."""

_JUST_APPLIED = f"""
FROM changes WHERE seq >= (
    SELECT min(seq) FROM runs WHERE steady_at > ? OR (finished_at IS NULL AND steady_at > ?)
) << {SEQ_BITS} AND place IN (?, ?) AND outcome = 'applied' AND steady_at > ?
"""  # noqa: S608 - constants
_WRITTEN = f"SELECT key, label, max(steady_at) {_JUST_APPLIED} GROUP BY key, label"
_OVERWRITTEN = f"SELECT key, label, before {_JUST_APPLIED}"

_CUT_OFF = f"""
WHERE changes.outcome IS NULL AND runs.status = ?
    AND changes.seq >= (SELECT min(seq) FROM runs WHERE status = ?) << {SEQ_BITS}
    AND changes.place IN (?, ?) ORDER BY changes.seq
"""  # noqa: S608 - constants

_RESOLVE = CHANGES.update_rows(
    ("outcome", "settled_at", "steady_at"), ("place", "key", "label"), " AND changes.outcome IS NULL"
)
_INTERRUPT = RUNS.update_rows(("status",), ("id",))
_INTERRUPT_LEFT = RUNS.update_rows(("status",), ("seq",), f" AND runs.status = '{RunStatus.RUNNING}'")

_BEGUN = ("id", "command", "source", "environment", "triggers", "started_at", "status", "replica", "steady_at")

_DEAD = " AND (replica IS NULL OR replica NOT IN (SELECT id FROM replicas WHERE expires_at > clock_timestamp()))"
"""Where replicas share the state: only the runs of those that ended without a word."""


class Journal:
    """Begins runs, and reads past ones."""

    def __init__(self, context: Context, ledger: Ledger) -> None:
        self._context, self._ledger = context, ledger
        self._database, self._key, self._sealing_keys = context.database, context.key, context.sealing_keys
        self._pruning = JournalPruning(context)
        self._left: set[int] = set()
        """Runs of this process whose end could not be recorded."""

    def begin(self, command: str | RunCause, source: str | None = None) -> Run:
        """Open a run of a command, or for a cause that says more than its name and source. Raises StateDirError."""
        cause = RunCause(command, source) if isinstance(command, str) else command
        now, steady = self._context.clock.now(), self._context.timeline.now()
        self._close_left()
        row = (*_cause_row(cause), now, RunStatus.RUNNING, self._context.replica(), steady)
        with self._database.transaction() as connection:
            added = (
                (run_id, self._database.inserted(connection, RUNS, _BEGUN, (run_id, *row))) for run_id in _ids(now)
            )
            run_id, seq = next((run_id, seq) for run_id, seq in added if seq is not None)
        return Run(run_id, seq, self._context, self._ledger, self._left)

    def runs(self, limit: int = 20) -> list[RunRecord]:
        """The last runs, newest first. Raises StateDirError."""
        return [run_record(row) for row in self._database.query(f"{RUN_ROWS} ORDER BY seq DESC LIMIT ?", (limit,))]

    def run(self, run_id: str) -> RunRecord:
        """The run with this id, or the only one whose id starts so. Raises UsageError when there is none or more than one."""
        where = "WHERE substr(id, 1, length(CAST(? AS TEXT))) = ? ORDER BY seq DESC LIMIT 6"
        rows = self._database.query(RUN_ROWS + where, (run_id, run_id))
        rows = [row for row in rows if row[0] == run_id] or rows
        if not rows or not run_id:
            raise UsageError(f"unknown run {run_id!r}; run `kvsync history` to list the runs")
        if len(rows) == 1:
            return run_record(rows[0])
        found = ", ".join(row[0] for row in rows[:5])
        raise UsageError(f"{run_id!r} is ambiguous; it matches the runs {found}{', …' if len(rows) > 5 else ''}")

    def unfinished(self) -> list[RunRecord]:
        """Runs that have not ended: the one under way, and those that were killed, newest first. Raises StateDirError."""
        rows = self._database.query(f"{RUN_ROWS} WHERE status = ? ORDER BY seq DESC", (RunStatus.RUNNING,))
        return [run_record(row) for row in rows]

    def close_interrupted(self) -> list[RunRecord]:
        """Mark the runs that were killed as interrupted, and return them as they were. Call it with the lock held, before the
        first run is begun: only then is every unfinished run a killed one. Where replicas share the state, runs of living
        ones are left alone. Raises StateDirError."""
        dead = _DEAD if self._context.replica() is not None else ""
        sql = f"{RUN_ROWS} WHERE status = ?{dead} ORDER BY seq DESC"
        killed = [run_record(row) for row in self._database.query(sql, (RunStatus.RUNNING,))]
        if killed:
            with self._database.transaction() as connection:
                rows = [(RunStatus.INTERRUPTED, one.id) for one in killed]
                self._database.write_rows(connection, _INTERRUPT, rows)
        return killed

    def changes(self, run_id: str) -> list[ChangeRecord]:
        """What a run did, in the order it was intended. Raises StateDirError."""
        run = self._database.one("SELECT seq FROM runs WHERE id = ?", (run_id,))
        if run is None:
            return []
        where = "WHERE changes.seq >= ? AND changes.seq < ? ORDER BY changes.seq"
        return self._changes(where, (run[0] << SEQ_BITS, run[0] + 1 << SEQ_BITS))

    def changes_of(self, target: Target, identity: Identity, limit: int) -> list[ChangeRecord]:
        """The last kept changes of an entry, newest first, also under former names of its place. Raises StateDirError."""
        at_place, names = changes_at(target.store, target.namespace)
        where = f"WHERE {at_place} AND key = ? AND label = ? ORDER BY changes.seq DESC LIMIT ?"
        return self._changes(where, (*names, *entry_row("", identity)[1:], limit))

    def last_change(self, target: Target, identity: Identity) -> ChangeRecord | None:
        """The last kept change of an entry. Raises StateDirError."""
        return next(iter(self.changes_of(target, identity, 1)), None)

    def written_since(self, located: LocatedTarget, moment: float) -> dict[Identity, float]:
        """The entries of a target that were written after `moment`, and when: both in epoch seconds by the wall clock as it is
        set now. Raises StateDirError."""
        wall = self._context.timeline.to_wall_clock
        rows = self._database.query(_WRITTEN, self._just_applied(located, moment))
        return {identity_of(key, label): wall(steady_at) for key, label, steady_at in rows}

    def overwritten_since(
        self, located: LocatedTarget, identities: Collection[Identity], moment: float
    ) -> dict[Identity, list[Actual | None]]:
        """What writes after `moment` (epoch seconds) found in the place of these entries, without values: None where nothing
        was there. Raises StateDirError."""
        found: dict[Identity, list[Actual | None]] = {identity: [] for identity in identities}
        keys = self._sealing_keys(state_key(located))
        rows = self._database.query(_OVERWRITTEN, self._just_applied(located, moment))
        for key, label, before in rows:
            identity = identity_of(key, label)
            if identity in found:
                there = None if before is None else before_of(identity, before, None, keys)
                found[identity].append(there)
        return found

    def _just_applied(self, located: LocatedTarget, moment: float) -> tuple[object, ...]:
        """Parameters of `_JUST_APPLIED`."""
        since = self._context.timeline.steady(moment)
        return since, since - _LONGEST_RUN, *_places(located), since

    def cut_off(self, located: LocatedTarget) -> list[ChangeRecord]:
        """The changes of killed runs to a target whose outcome nobody knows, oldest first. Raises StateDirError."""
        self._close_left()
        return [self._change(row) for row in self._database.query(*cut_off_query(*_places(located)))]

    def resolve(
        self,
        located: LocatedTarget,
        outcomes: Mapping[Identity, OutcomeKind],
        applied: Mapping[Identity, Applied | None],
    ) -> None:
        """Close changes that were cut off, once it is known what became of them, and note with them what the ledger says from
        now on (None: the entry is gone). Raises StateDirError."""
        now = self._context.clock.now()
        moments = now, self._context.timeline.steady(now)
        rows = [
            (kind.value, *moments, *entry_row(place, identity))
            for identity, kind in outcomes.items()
            for place in dict.fromkeys(_places(located))
        ]
        present = {identity: one for identity, one in applied.items() if one is not None}
        with self._database.transaction() as connection:
            self._database.write_rows(connection, _RESOLVE, rows)
            self._ledger.write(connection, state_key(located), present, applied.keys() - present.keys())

    def prune(self, keep_runs: int = KEEP_RUNS, *, max_age: float | None = None, max_size: int | None = None) -> None:
        """Forget all but the last runs, those that began longer ago than `max_age` (seconds), and the oldest until the changes
        take no more than about `max_size` bytes. None that is as old as one under way is forgotten. Cheap when there is
        nothing to forget. Raises StateDirError."""
        self._pruning.prune(keep_runs, max_age, max_size)

    def _close_left(self) -> None:
        if self._left:
            rows = [(RunStatus.INTERRUPTED, seq) for seq in self._left]
            with self._database.transaction() as connection:
                self._database.write_rows(connection, _INTERRUPT_LEFT, rows)
            self._left.clear()

    def _changes(self, where: str, parameters: Sequence[object]) -> list[ChangeRecord]:
        return [self._change(row) for row in self._database.query(_CHANGES + where, parameters)]

    def _change(self, row: Sequence[Any]) -> ChangeRecord:
        run, store, namespace, key, label, action, cause, before, value, after, *rest = row
        sensitive, origin, intended_at, outcome, error, etag, settled_at, place = rest
        identity = identity_of(key, label)
        return ChangeRecord(
            run,
            Target(store, namespace),
            identity,
            Action(action),
            Class(cause),
            before_of(identity, before, value, self._sealing_keys(place)) if before is not None else None,
            after,
            bool(sensitive),
            origin,
            intended_at,
            OutcomeKind(outcome) if outcome else None,
            error,
            etag,
            settled_at,
            self._key() if sensitive else None,
            place,
        )


def cut_off_query(place: str, name: str) -> Query:
    """The query for the changes of killed runs to a place, or to a target that had only its name."""
    return _CHANGES + _CUT_OFF, (RunStatus.INTERRUPTED, RunStatus.INTERRUPTED, place, name)


def run_record(row: Sequence[Any]) -> RunRecord:
    """Convert a row of `RUN_ROWS` to a record."""
    run_id, command, source, started_at, finished_at, status, summary, changes, environment, triggers = row
    counts = counts_of(summary) if summary else {}
    why = tuple(triggers.split()) if triggers else ()
    moments = (started_at, finished_at)
    return RunRecord(run_id, command, source, *moments, RunStatus(status), changes, counts, environment, why)


def _ids(now: float) -> Iterator[str]:
    """The moment to the millisecond: sorts by time, reads as what it is, and moves on by one when it is taken."""
    for moment in count(round(now * 1000)):
        date = datetime.fromtimestamp(moment // 1000, UTC).strftime("%Y%m%d-%H%M%S")
        yield f"{date}-{moment % 1000:03}"


def _cause_row(cause: RunCause) -> tuple[str | None, ...]:
    return cause.command, cause.source, cause.environment, " ".join(cause.triggers) or None


def _places(located: LocatedTarget) -> tuple[str, str]:
    """What the changes of a target may be kept by: its place, or its name where an earlier version recorded them."""
    return state_key(located), name_key(located.target)
