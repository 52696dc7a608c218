"""Undoes runs in one target, in the order in which the files ask for entries to be written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from kvsync.apply.engine import Applier
from kvsync.apply.invert import InvertedRun, undo_changes
from kvsync.apply.model import ApplyReport, Step
from kvsync.model.change import Outcome, OutcomeKind
from kvsync.model.entry import Actual, Entry, Identity
from kvsync.planning.order import waiting_changes, why_waiting
from kvsync.state.records import ChangeRecord
from kvsync.stores.partial import PartialRead

_NOT_RESTORED: Final = frozenset({OutcomeKind.STALE, OutcomeKind.REFUSED, OutcomeKind.SKIPPED})


async def undo(
    applier: Applier, records: Sequence[ChangeRecord], wanted: Mapping[Identity, Entry], now: float
) -> ApplyReport:
    """Undo what `records` did to the applier's target. `wanted` are the entries that the files ask for. Raises StoreError if
    the store cannot be read, StateDirError."""
    fresh, unread = await _read(applier, list(dict.fromkeys(record.identity for record in records)))
    undone = undo_changes(records, fresh, applier.capabilities, applier.signer.owner, now, unread)
    undoing = in_written_order(undone, wanted)
    report = await applier.run(undoing.steps)
    outcomes = tuple(_as_stale(outcome) for outcome in report.outcomes)
    return replace(report, outcomes=outcomes + undoing.outcomes)


def in_written_order(undone: InvertedRun, wanted: Mapping[Identity, Entry]) -> InvertedRun:
    """The steps with the `after` of the entries that the files ask for (`wanted`). What comes after an entry that cannot be
    restored is skipped: a sentinel must not report what is not there."""
    steps = tuple(_ordered(step, wanted.get(step.change.identity)) for step in undone.steps)
    left = [one.identity for one in undone.outcomes if one.kind in _NOT_RESTORED]
    waiting = waiting_changes([step.change for step in steps], left)
    if not waiting:
        return replace(undone, steps=steps)
    skipped = tuple(
        Outcome(one.identity, one.action, OutcomeKind.SKIPPED, why_waiting(one, waiting[one.identity]))
        for one in (step.change for step in steps)
        if one.identity in waiting
    )
    kept = tuple(step for step in steps if step.change.identity not in waiting)
    return InvertedRun(kept, undone.outcomes + skipped)


def _ordered(step: Step, wanted: Entry | None) -> Step:
    restored = step.change.after
    if restored is None or wanted is None or not (wanted.after or wanted.after_all):
        return step
    entry = replace(restored, after=wanted.after, after_all=wanted.after_all)
    return replace(step, change=replace(step.change, after=entry))


async def _read(
    applier: Applier, identities: Sequence[Identity]
) -> tuple[Mapping[Identity, Actual], Mapping[Identity, str]]:
    """The entries, and why others cannot be read. Raises StoreError."""
    try:
        return await applier.read(identities), {}
    except PartialRead as partial:
        return partial.found, partial.failed


def _as_stale(outcome: Outcome) -> Outcome:
    return replace(outcome, kind=OutcomeKind.STALE) if outcome.kind is OutcomeKind.CONFLICT else outcome
