"""Moves between targets: splits plans so that old entries are deleted last, once the new ones exist, and `after: all` holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Final

from kvsync.model.change import Change, Outcome, OutcomeKind
from kvsync.model.entry import Identity
from kvsync.model.plan import TargetPlan, TargetReport

_DONE: Final = (OutcomeKind.APPLIED, OutcomeKind.UNCHANGED)

_destination = attrgetter("moved_to_target")
"""Without a call in Python, because it is asked for each change in the event loop."""


def has_outgoing_moves(plan: TargetPlan) -> bool:
    """True when entries of the target move to another one."""
    return any(map(_destination, plan.changes))


def staying(plan: TargetPlan) -> TargetPlan:
    """Everything of a plan but what moves to other targets, and what is written after everything else."""
    if not has_outgoing_moves(plan):
        return plan
    return replace(plan, changes=tuple(change for change in plan.changes if not _is_late(change)))


def leaving(plan: TargetPlan, done: TargetReport | None) -> TargetPlan:
    """What of a plan moves to other targets, and what is written last if everything so far (`done`) succeeded; the plan itself
    where that is everything."""
    is_open = done is not None and _unfinished(done) is not None
    changes = tuple(change for change in plan.changes if _moves_out(change) or (change.is_last and not is_open))
    if len(changes) == len(plan.changes):
        return plan
    return replace(plan, changes=changes, refused=(), reported=())


def combined(plan: TargetPlan, reports: Sequence[TargetReport]) -> TargetReport:
    """The report of a plan that was applied in parts."""
    if len(reports) == 1 and reports[0].plan is plan:
        return reports[0]
    outcomes = tuple(outcome for report in reports for outcome in report.outcomes)
    ends = [report.waits_until for report in reports if report.waits_until is not None]
    return TargetReport(
        plan,
        outcomes + tuple(_skipped(plan, reports, {one.identity for one in outcomes})),
        next((report.error for report in reports if report.error), None),
        sum(report.deletes_waiting for report in reports),
        max(ends, default=None),
        code=next((report.code for report in reports if report.error), None),
    )


def _moves_out(change: Change) -> bool:
    return change.moved_to_target is not None


def _is_late(change: Change) -> bool:
    return _moves_out(change) or change.is_last


def _unfinished(report: TargetReport) -> Identity | None:
    return next((one.identity for one in report.outcomes if one.kind not in _DONE), None)


def _skipped(plan: TargetPlan, reports: Sequence[TargetReport], known: Collection[Identity]) -> Iterator[Outcome]:
    """Outcomes of what is written last and was not tried."""
    other = next((found for report in reports if (found := _unfinished(report)) is not None), None)
    for change in plan.changes:
        if change.identity not in known:
            why = f"not written, because {other} has to be written first and was not"
            yield Outcome(change.identity, change.action, OutcomeKind.SKIPPED, why)
