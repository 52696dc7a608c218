"""Pending changes of a pass as display rows, in the format of `kvsync plan` and limited to the size of a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Final

from kvsync.model.change import DRIFT_CLASSES, Action, Change, OutcomeKind, Refusal
from kvsync.model.plan import TargetReport
from kvsync.rendering.difference import Line
from kvsync.rendering.style import DisplayLimits
from kvsync.rendering.values import detail_of
from kvsync.rendering.words import REFUSED, SIGNS, cost_line, name
from kvsync.status.plan_views import PendingPlan, PendingRow, PendingRowKind
from kvsync.util.escaping import escape_cell

MOST_ROWS: Final = 100
"""Rows of one target."""

_LIMITS: Final = DisplayLimits(lines=12, columns=160)
_DONE: Final = frozenset({OutcomeKind.APPLIED, OutcomeKind.UNCHANGED})

Redact = Callable[[str], str]


def pending_plan(report: TargetReport, owner: str, redact: Redact, most: int = MOST_ROWS) -> PendingPlan | None:
    """What the plan of a report holds and was not applied, in at most so many rows; None when that is nothing. A value that
    must not be shown is in no row."""
    plan, changes = report.plan, _undone(report)
    total = len(changes) + len(plan.refused) + len(plan.reported)
    if not total:
        return None
    rows = chain(
        (_change(PendingRowKind.CHANGE, change, owner, redact) for change in changes),
        (_refusal(refusal, redact) for refusal in plan.refused),
        (_change(PendingRowKind.REPORTED, change, owner, redact) for change in plan.reported),
    )
    shown = tuple(islice(rows, most))
    counts = Counter(change.action.value for change in changes)
    counts.update({"refused": len(plan.refused), "reported": len(plan.reported)})
    return PendingPlan(plan.digest, shown, total - len(shown), dict(_occurring(counts)), cost_line(plan.cost))


def unhealed(report: TargetReport) -> dict[str, int]:
    """The drift that a pass left as it was, by class."""
    deferred = (refusal.deferred for refusal in report.plan.refused if refusal.deferred is not None)
    left = (*_undone(report), *report.plan.reported, *deferred)
    return dict(Counter(change.cause.value for change in left if change.cause in DRIFT_CLASSES))


def in_sync_now(report: TargetReport) -> int:
    """How many entries a pass brought to what the files ask."""
    return sum(one.kind in _DONE and one.action is not Action.DELETE for one in report.outcomes)


def _undone(report: TargetReport) -> list[Change]:
    done = {outcome.identity for outcome in report.outcomes if outcome.kind in _DONE}
    return [change for change in report.plan.changes if change.identity not in done]


def _change(kind: PendingRowKind, change: Change, owner: str, redact: Redact) -> PendingRow:
    detail = detail_of(change, owner, _LIMITS)
    return PendingRow(
        kind,
        SIGNS[change.action],
        change.action.value,
        change.cause.value,
        redact(name(change.identity)),
        change.sensitive,
        tuple(redact(text) for text in detail.notes),
        tuple(Line(line.sign, redact(line.text)) for line in detail.below),
        _origin(change),
    )


def _refusal(refusal: Refusal, redact: Redact) -> PendingRow:
    reason = redact(escape_cell(refusal.reason))
    names = (refusal.action.value, refusal.cause.value, redact(name(refusal.identity)))
    return PendingRow(PendingRowKind.REFUSED, REFUSED, *names, notes=(reason,), origin=_origin(refusal))


def _origin(item: Change | Refusal) -> str | None:
    return None if item.origin is None else escape_cell(str(item.origin))


def _occurring(counts: Counter[str]) -> Iterator[tuple[str, int]]:
    return ((word, number) for word, number in counts.items() if number)
