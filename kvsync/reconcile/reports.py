"""Builds the report of a target, also if nothing or only a part of its plan was applied."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvsync.errors import StoreError
from kvsync.model.change import Outcome, OutcomeKind
from kvsync.model.digest import target_digest
from kvsync.model.place import LocatedTarget
from kvsync.model.plan import Cost, TargetPlan, TargetReport
from kvsync.state import CleanPass
from kvsync.stores.base import Store
from kvsync.stores.extensions import restore_point_requests

if TYPE_CHECKING:
    from kvsync.apply.model import ApplyReport


def empty_plan(digest_key: bytes, located: LocatedTarget, type_: str, moved_from: str | None = None) -> TargetPlan:
    """A plan without changes."""
    digest = target_digest(digest_key, *located, ())
    return TargetPlan(located.target, type_, digest, place=located.place, moved_from=moved_from)


def unchanged_plan(
    digest_key: bytes, located: LocatedTarget, type_: str, clean: CleanPass, moved_from: str | None = None
) -> TargetPlan:
    """The plan of a target that has not changed since its last clean pass."""
    counts = clean.counts
    return TargetPlan(
        located.target,
        type_,
        target_digest(digest_key, *located, ()),
        place=located.place,
        moved_from=moved_from,
        unchanged=counts["unchanged"],
        foreign=counts["foreign"],
        ignored=counts["ignored"],
        expired=counts["expired"],
        orphans=counts.get("orphans", 0),
        next_moment=clean.next_moment,
    )


def with_restore_point(plan: TargetPlan, store: Store) -> TargetPlan:
    """The plan with the restore point that the store makes before the first write."""
    requests = restore_point_requests(store)
    if not plan.changes or not requests:
        return plan
    note = "a snapshot is taken first (snapshot_before_apply)"
    return replace(plan, notes=(*plan.notes, note), cost=plan.cost.plus(Cost(requests)))


def applied_report(plan: TargetPlan, report: ApplyReport, error: str | None) -> TargetReport:
    """The report of a target after its plan was applied: also of what the plan refused or only reported."""
    return target_report(plan, report, report.outcomes + unapplied(plan), error)


def target_report(
    plan: TargetPlan, report: ApplyReport, outcomes: tuple[Outcome, ...], error: str | None
) -> TargetReport:
    """The report of a target with these outcomes, and with the deletions that wait for the deletion budget."""
    until = report.grant.budget.free_at if report.grant is not None and report.deletes_waiting else None
    code = report.store_error.code if report.store_error is not None else None
    return TargetReport(plan, outcomes, error, report.deletes_waiting, until, code=code)


def withheld(plan: TargetPlan, reason: str, failure: StoreError | None = None) -> TargetReport:
    """The report of a target whose plan was not applied, for a reason or because of a failure."""
    error, code = (None, None) if failure is None else (str(failure), failure.code)
    untried = [Outcome(one.identity, one.action, OutcomeKind.NOT_ATTEMPTED, error or reason) for one in plan.changes]
    return TargetReport(plan, (*untried, *unapplied(plan)), error, code=code)


def unapplied(plan: TargetPlan) -> tuple[Outcome, ...]:
    """The outcomes of what a plan refuses or only reports."""
    refused = [
        Outcome(one.identity, one.action, OutcomeKind.REFUSED, one.reason, detail=one.code) for one in plan.refused
    ]
    reported = [Outcome(one.identity, one.action, OutcomeKind.SKIPPED, "reported only") for one in plan.reported]
    return (*refused, *reported)
