"""Writing side of the journal for one run in progress."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kvsync.errors import StateDirError
from kvsync.model.change import Outcome, OutcomeKind
from kvsync.model.entry import Identity, Target, sealed
from kvsync.model.place import LocatedTarget
from kvsync.planning.sealing import SealingKeys
from kvsync.state.before import before_text
from kvsync.state.context import Context
from kvsync.state.ledger import Ledger
from kvsync.state.records import Intent, RunStatus, Settled
from kvsync.state.rows import SEQ_BITS, counts_text, label_text, state_key, target_row
from kvsync.state.tables import CHANGES, NAMESPACE_DELETIONS, RESTORE_POINTS

_INTENDED = (
    *("seq", "store", "namespace", "place", "key", "label", "action", "cause", "origin", "sensitive"),
    *("before", "before_value", "after", "intended_at"),
)
_INTEND = CHANGES.insert_rows(_INTENDED)
_REPLACE = CHANGES.delete_rows()
_SETTLE = CHANGES.update_rows(("outcome", "error", "etag", "settled_at", "steady_at"), ("seq",))
_INTEND_NAMESPACE = NAMESPACE_DELETIONS.insert(("run", "store", "namespace", "place", "intended_at"))
_SETTLE_NAMESPACE = """
UPDATE namespace_deletions SET outcome = ?, error = ?, settled_at = ? WHERE run = ? AND store = ? AND namespace = ?
"""
_KEEP_RESTORE_POINT = RESTORE_POINTS.upsert()
_FINISH = "UPDATE runs SET finished_at = ?, steady_at = ?, status = ?, summary = ? WHERE seq = ?"


class _Batch(NamedTuple):
    """What the rows of one batch share: store, namespace and key of the place, the keys that seal there, and the moment."""

    at: tuple[str, str, str]
    keys: SealingKeys
    now: float


class Run:
    """A run that `Journal.begin` opened. It may serve several targets."""

    def __init__(self, run_id: str, seq: int, context: Context, ledger: Ledger, left: set[int]) -> None:
        self.id, self._left = run_id, left
        self._seq, self._context, self._ledger = seq, context, ledger
        self._next = seq << SEQ_BITS
        self._open: defaultdict[Target, dict[Identity, int]] = defaultdict(dict)
        self._open_namespaces: set[Target] = set()
        self._restore_points: dict[Target, str] = {}

    def restore_point(self, target: Target) -> str | None:
        """The name of the restore point of a target that this run has made."""
        return self._restore_points.get(target)

    def keep_restore_point(self, target: Target, name: str) -> None:
        """Record a restore point, before anything is written. Raises StateDirError."""
        with self._context.database.transaction() as connection:
            connection.execute(_KEEP_RESTORE_POINT, (self._seq, *target_row(target), name))
        self._restore_points[target] = name

    def intend(self, located: LocatedTarget, intents: Sequence[Intent]) -> None:
        """Record what is about to be written, before it is. An intent that is not settled yet is replaced, as when an entry
        is planned again after a conflict. Raises StateDirError, and then nothing may be written to the store."""
        at, unsettled = (*target_row(located.target), state_key(located)), self._open[located.target]
        batch = _Batch(at, self._context.sealing_keys(state_key(located)), self._context.clock.now())
        entries = [intent.identity for intent in intents]
        numbers = range(self._next, self._next + len(intents))
        self._next = numbers.stop  # a transaction that seems to fail may have been committed
        with self._context.database.transaction() as connection:
            replaced = [(unsettled[entry],) for entry in entries if entry in unsettled]
            self._context.database.write_rows(connection, _REPLACE, replaced)
            rows = [self._row(seq, batch, intent) for seq, intent in zip(numbers, intents, strict=True)]
            self._context.database.write_rows(connection, _INTEND, rows)
        unsettled.update(zip(entries, numbers, strict=True))

    def settle(self, located: LocatedTarget, settled: Sequence[Settled]) -> None:
        """Record what became of intents, and in the same transaction what the ledger says from now on. An outcome without an
        intent leaves no trace in the journal: nothing was tried. Raises StateDirError."""
        now, unsettled = self._context.clock.now(), self._open[located.target]
        moments = now, self._context.timeline.steady(now)
        applied = {one.outcome.identity: one.applied for one in settled if one.applied is not None}
        gone = [one.outcome.identity for one in settled if one.gone]
        with self._context.database.transaction() as connection:
            numbers = (unsettled.get(one.outcome.identity) for one in settled)
            rows = [self._outcome(seq, one.outcome, moments) for seq, one in zip(numbers, settled, strict=True)]
            self._context.database.write_rows(connection, _SETTLE, rows)
            self._ledger.write(connection, state_key(located), applied, gone)
        for one in settled:
            unsettled.pop(one.outcome.identity, None)

    def intend_namespace(self, located: LocatedTarget) -> None:
        """Record that a namespace is about to be deleted, before it is. Raises StateDirError: then it must not be deleted."""
        row = (self._seq, *target_row(located.target), str(located.place), self._context.clock.now())
        with self._context.database.transaction() as connection:
            connection.execute(_INTEND_NAMESPACE, row)
        self._open_namespaces.add(located.target)

    def settle_namespace(self, target: Target, outcome: OutcomeKind, error: str | None = None) -> None:
        """Record what became of a namespace. Raises StateDirError."""
        row = (outcome.value, self._context.redacted(error), self._context.clock.now())
        with self._context.database.transaction() as connection:
            connection.execute(_SETTLE_NAMESPACE, (*row, self._seq, *target_row(target)))
        self._open_namespaces.discard(target)

    def finish(self, summary: Mapping[str, int] | None = None) -> None:
        """Close the run, durably with all that was recorded before it. `summary` holds counts by name. A run with changes whose
        outcome is not known counts as interrupted: the next pass finds out. Raises StateDirError."""
        status = RunStatus.INTERRUPTED if any(self._open.values()) or self._open_namespaces else RunStatus.FINISHED
        row = (self._context.clock.now(), self._context.timeline.now(), status, counts_text(summary or {}), self._seq)
        try:
            with self._context.database.transaction(durable=True) as connection:
                connection.execute(_FINISH, row)
        except StateDirError:
            self._left.add(self._seq)
            raise

    def _row(self, seq: int, batch: _Batch, intent: Intent) -> tuple[Any, ...]:
        """Parameters of `_INTEND`."""
        before, after, withheld = intent.before, intent.after, _is_withheld(intent)
        if after is not None and withheld:
            after = sealed(after, self._context.key())
        text = value = None
        if before is not None:
            text = before_text(before, withheld, batch.keys)
            value = before.content.value if before.content is not None and not withheld else None
        key, label = intent.identity
        names = (str(intent.action), str(intent.cause), intent.origin, int(withheld))
        return (seq, *batch.at, key, label_text(label), *names, text, value, after, batch.now)

    def _outcome(self, seq: int | None, outcome: Outcome, moments: tuple[float, float]) -> tuple[Any, ...]:
        """Parameters of `_SETTLE`; `moments` are now by the wall clock, and on the timeline of the state."""
        error = outcome.error
        return str(outcome.kind), error and self._context.redacted(error), outcome.etag, *moments, seq


def _is_withheld(intent: Intent) -> bool:
    """Sensitive on either side of the change is sensitive, whatever the caller says."""
    marked = intent.before is not None and intent.before.mark is not None and intent.before.mark.sensitive
    return intent.sensitive or marked
