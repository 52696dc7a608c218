"""Past runs by commit, target, trigger and time, and the later changes of their entries."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from kvsync.model.change import OutcomeKind
from kvsync.model.entry import Identity, Target
from kvsync.state.context import Context
from kvsync.state.journal import RUN_ROWS, run_record
from kvsync.state.places import changes_at
from kvsync.state.records import NamespaceRecord, RunRecord
from kvsync.state.rows import SEQ_BITS, identity_of
from kvsync.util.values import dataclass

_OF_RUN = f"changes.seq >= runs.seq << {SEQ_BITS} AND changes.seq < runs.seq + 1 << {SEQ_BITS}"
_COUNTS = f"""
SELECT runs.id, store, namespace, count(*) FROM runs JOIN changes ON {_OF_RUN} WHERE runs.id IN (%s)
GROUP BY runs.seq, store, namespace ORDER BY runs.seq, store, namespace
"""  # noqa: S608 - constants
_NAMESPACES = """
SELECT runs.id, store, namespace, place, coalesce(settled_at, intended_at), outcome, error
FROM namespace_deletions JOIN runs ON runs.seq = run WHERE runs.id IN (%s) ORDER BY runs.seq, store, namespace
"""
_SINCE = f"""
SELECT runs.id, store, namespace, key, label FROM runs JOIN changes ON {_OF_RUN}
WHERE runs.seq >= (SELECT min(seq) FROM runs WHERE id IN (%s)) AND (runs.id IN (%s) OR outcome = 'applied')
ORDER BY changes.seq
"""  # noqa: S608 - constants
_RESTORE_POINTS = """
SELECT runs.id, store, namespace, name FROM runs JOIN restore_points ON restore_points.run = runs.seq WHERE runs.id IN (%s)
ORDER BY runs.seq, store, namespace
"""
_LAST_ENVIRONMENT = "SELECT environment FROM runs WHERE environment IS NOT NULL ORDER BY seq DESC LIMIT 1"
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs: those of a commit (the start of its hash), since a run (itself included) or a moment (epoch seconds), of a
    trigger, that changed a target or a store (`namespace` None). `skips_undo` leaves out runs that undid others."""

    commit: str | None = None
    since_run: str | None = None
    since: float | None = None
    trigger: str | None = None
    store: str | None = None
    namespace: str | None = None
    skips_undo: bool = False


Entry = tuple[Target, Identity]


class RunHistory:
    """Queries over the runs of a journal."""

    def __init__(self, context: Context) -> None:
        self._database = context.database

    def last_environment(self) -> str | None:
        """The environment of the newest run that had one. Raises StateDirError."""
        row = self._database.one(_LAST_ENVIRONMENT)
        return None if row is None else str(row[0])

    def find(self, wanted: RunFilter, limit: int) -> list[RunRecord]:
        """The newest runs that match, newest first. Raises StateDirError."""
        conditions, parameters = _conditions(wanted)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        rows = self._database.query(f"{RUN_ROWS} {where} ORDER BY seq DESC LIMIT ?", (*parameters, limit))
        return [run_record(row) for row in rows]

    def targets(self, runs: Collection[str]) -> dict[str, dict[Target, int]]:
        """How many changes each of these runs intended in which target; none where it deleted the namespace. Raises
        StateDirError."""
        found = {run: {one.target: 0 for one in deleted} for run, deleted in self.namespaces(runs).items()}
        for run, store, namespace, count in self._of_runs(_COUNTS, runs):
            found[run][Target(store, namespace)] = count
        return found

    def namespaces(self, runs: Collection[str]) -> dict[str, list[NamespaceRecord]]:
        """The namespaces that each of these runs was to delete. Raises StateDirError."""
        found: dict[str, list[NamespaceRecord]] = {run: [] for run in runs}
        for run, store, namespace, place, at, outcome, error in self._of_runs(_NAMESPACES, runs):
            kind = OutcomeKind(outcome) if outcome else None
            found[run].append(NamespaceRecord(Target(store, namespace), place, at, kind, error))
        return found

    def _of_runs(self, sql: str, runs: Collection[str]) -> Iterator[Any]:
        """The rows of a query about runs, some at a time."""
        every = list(runs)
        for start in range(0, len(every), _AT_ONCE):
            some = every[start : start + _AT_ONCE]
            yield from self._database.query(sql % _marks(some), tuple(some))

    def restore_points(self, runs: Collection[str]) -> dict[str, dict[Target, str]]:
        """The names of the restore points that these runs made, by target. Raises StateDirError."""
        found: dict[str, dict[Target, str]] = {run: {} for run in runs}
        every = list(runs)
        for start in range(0, len(every), _AT_ONCE):
            some = every[start : start + _AT_ONCE]
            for run, store, namespace, name in self._database.query(_RESTORE_POINTS % _marks(some), tuple(some)):
                found[run][Target(store, namespace)] = name
        return found

    def changes_since(self, runs: Collection[str], entries: Collection[Entry]) -> dict[Entry, list[str]]:
        """Which runs changed these entries since the first of `runs` began, oldest first. Raises StateDirError."""
        found: dict[Entry, list[str]] = {entry: [] for entry in entries}
        marks = _marks(runs)
        for run, store, namespace, key, label in self._database.query(_SINCE % (marks, marks), (*runs, *runs)):
            changed = found.get((Target(store, namespace), identity_of(key, label)))
            if changed is not None:
                changed.append(run)
        return found


def _marks(values: Collection[str]) -> str:
    return ", ".join("?" * len(values))


def _conditions(wanted: RunFilter) -> tuple[list[str], list[Any]]:
    """SQL conditions, all of constants, with the parameters for them."""
    found: list[tuple[str, tuple[Any, ...]]] = []
    if wanted.commit is not None:
        found.append(
            ("source IS NOT NULL AND substr(source, 1, length(CAST(? AS TEXT))) = ?", (wanted.commit, wanted.commit))
        )
    if wanted.since_run is not None:
        found.append(("seq >= (SELECT seq FROM runs WHERE id = ?)", (wanted.since_run,)))
    if wanted.since is not None:
        found.append(("started_at >= ?", (wanted.since,)))
    if wanted.trigger is not None:
        found.append(("' ' || triggers || ' ' LIKE ?", (f"% {wanted.trigger} %",)))
    if wanted.skips_undo:
        found.append(("command <> 'undo'", ()))
    if wanted.store is not None:
        of_target = "store = ?" if wanted.namespace is None else "store = ? AND namespace = ?"
        names = (wanted.store,) if wanted.namespace is None else (wanted.store, wanted.namespace)
        at_place, places = changes_at(wanted.store, wanted.namespace)
        changed = f"EXISTS (SELECT 1 FROM changes WHERE {_OF_RUN} AND {at_place})"  # noqa: S608 - constants
        deleted = f"EXISTS (SELECT 1 FROM namespace_deletions WHERE run = runs.seq AND {of_target})"  # noqa: S608 - constants
        found.append((f"({changed} OR {deleted})", (*places, *names)))
    return [condition for condition, _ in found], [one for _, parameters in found for one in parameters]
