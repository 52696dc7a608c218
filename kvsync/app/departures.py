"""Splits plans so that what moves to another target leaves last, once it has arrived there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter

from kvsync.model.change import Change
from kvsync.model.plan import TargetPlan, TargetReport

_destination = attrgetter("moved_to_target")
"""Without a call in Python, because it is asked for each change in the event loop."""


def has_departures(plan: TargetPlan) -> bool:
    """True when entries of the target move to another one."""
    return any(map(_destination, plan.changes))


def staying(plan: TargetPlan) -> TargetPlan:
    """Everything of a plan but what moves to other targets."""
    if not has_departures(plan):
        return plan
    return replace(plan, changes=tuple(change for change in plan.changes if not _departs(change)))


def leaving(plan: TargetPlan) -> TargetPlan:
    """What of a plan moves to other targets; the plan itself where that is everything."""
    if all(map(_departs, plan.changes)):
        return plan
    return replace(plan, changes=tuple(filter(_departs, plan.changes)), refused=(), reported=())


def combined(plan: TargetPlan, reports: Sequence[TargetReport]) -> TargetReport:
    """The report of a plan that was applied in parts."""
    if len(reports) == 1 and reports[0].plan is plan:
        return reports[0]
    ends = [report.waits_until for report in reports if report.waits_until is not None]
    return TargetReport(
        plan,
        tuple(outcome for report in reports for outcome in report.outcomes),
        next((report.error for report in reports if report.error), None),
        sum(report.deletes_waiting for report in reports),
        max(ends, default=None),
    )


def _departs(change: Change) -> bool:
    return change.moved_to_target is not None
