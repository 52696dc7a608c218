"""Result of one pass over a target: everything that log, status, metrics, notices, page and exit code are made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import field, replace
from enum import StrEnum
from typing import Final

from kvsync.errors import ErrorCode, KvsyncError, PassOverdue, PlaceChanged, StoreError, TransientError, with_code
from kvsync.model.change import OutcomeKind
from kvsync.model.entry import Target
from kvsync.model.plan import TargetPlan, TargetReport, drifted, outcome_counts, problem_texts
from kvsync.util.values import dataclass

FAILURES: Final = frozenset({OutcomeKind.FAILED, OutcomeKind.UNKNOWN, OutcomeKind.CONFLICT, OutcomeKind.STALE})
"""Outcomes of failed changes. The next pass looks at their entries again; one that the store refuses for good waits in
quarantine then."""

SHORT_REST: Final = 60.0
"""Seconds of a rest from which on it is shown as `resting until`."""

_DONE: Final = frozenset({OutcomeKind.APPLIED, OutcomeKind.UNCHANGED})


class Trigger(StrEnum):
    """Why a target gets a pass."""

    START = "start"
    SCHEDULE = "schedule"
    FILES = "files"
    TIMER = "timer"
    RETRY = "retry"
    SIGNAL = "signal"
    HOOK = "hook"
    WAKE = "wake"
    WINDOW = "window"
    LEASE = "lease"
    CONFIG = "config"
    STORE = "store"


@dataclass(frozen=True, slots=True)
class PassResult:
    """What became of one pass.

    `report` is the plan with an outcome for each change, None where the pass did not come to a plan; `run` is the journal's id
    of what was written. The next fields sum it up, and stay when `brief` drops the report:

    `digest` is the plan's; `changes` counts outcomes by `OutcomeKind`; `pending` counts what the plan holds and was not
    applied, for whatever reason (reported drift included), and `deferred` those of it that are quarantined or contended;
    `drift` counts drifted entries by class. `parked` holds the reasons why a person must approve `digest` first. `error` means
    that the pass as a whole did not happen, or nothing but renewals for problems in the files, `unavailable` that the store is
    the reason; `code` is that of the error, or of its first part, and `is_coded` says that the text holds the codes of its
    parts. `retryable` means that trying again soon, and not only at the next trigger, may help, be it with the error or with
    failed entries, but not before `retry_after` seconds. `asked_rest` is the wait that the store asks for, where it is a long
    one. `next_moment` (epoch seconds) is when the target needs a pass although nothing changes.
    `deletes_waiting` counts deletes that wait for `run.max_deletes_per_hour`, until `waits_until` (epoch seconds) where that is
    known. `early` says which earlier wave the rest waits for.

    The daemon adds when and why: the pass was made for `triggers`, took `seconds` and ended `at` (epoch seconds). `next_at` is
    when the target gets its next pass and `next_trigger` why; None when only the schedule or an event makes one.
    """

    target: Target
    digest: str = ""
    changes: Mapping[str, int] = field(default_factory=dict)
    pending: int = 0
    deferred: int = 0
    drift: Mapping[str, int] = field(default_factory=dict)
    parked: tuple[str, ...] = ()
    error: str | None = None
    code: ErrorCode | None = None
    is_coded: bool = False
    unavailable: bool = False
    retryable: bool = False
    retry_after: float | None = None
    asked_rest: float | None = None
    next_moment: float | None = None
    deletes_waiting: int = 0
    waits_until: float | None = None
    early: str | None = None
    report: TargetReport | None = None
    run: str | None = None
    triggers: tuple[Trigger, ...] = ()
    at: float = 0
    seconds: float = 0
    next_at: float | None = None
    next_trigger: Trigger | None = None

    @property
    def rest(self) -> float | None:
        """Seconds of the rest that the store asks for; None where it is so short that it does not matter."""
        rest = self.asked_rest or self.retry_after
        return rest if rest is not None and rest >= SHORT_REST else None

    @property
    def resting_until(self) -> float | None:
        """When the rest that the store asks for is over (epoch seconds)."""
        return None if self.rest is None else self.at + self.rest

    @property
    def failed(self) -> int:
        """How many changes failed."""
        return sum(self.changes.get(kind, 0) for kind in FAILURES)

    @property
    def message(self) -> str | None:
        """The error as people see it, with its code, or those of its parts."""
        return self.error if self.error is None or self.is_coded else with_code(self.error, self.code)

    @property
    def ok(self) -> bool:
        """True when the pass happened and none of its changes failed."""
        return self.error is None and not self.failed

    def brief(self) -> PassResult:
        """The same without the report, which may hold thousands of entries: small enough to keep for each target."""
        return replace(self, report=None)


def pass_result(
    report: TargetReport,
    run: str | None = None,
    *,
    is_applied: bool,
    failure: StoreError | None = None,
    settled_at: float | None = None,
) -> PassResult:
    """Sum up a pass that came to a plan. `is_applied` says that applying was tried, `failure` why the store was given up.
    `settled_at` (epoch seconds) is when the store can be believed about what was just written."""
    plan, outcomes = report.plan, report.outcomes
    held = bool(plan.parked) and not any(one.etag or one.kind is OutcomeKind.APPLIED for one in outcomes)
    overlaps = plan.parked if held and not plan.changes else ()  # no approval helps
    unknown = "" if plan.complete or plan.parked else "the listing of the store is incomplete"
    errors = [error for error in (plan.error or report.error or unknown, *overlaps, *problem_texts(plan)) if error]
    is_transient = isinstance(failure, TransientError)
    return PassResult(
        plan.target,
        digest=plan.digest,
        changes={kind.value: count for kind, count in outcome_counts([report]).items()} if is_applied else {},
        pending=_pending(plan, report),
        deferred=sum(refusal.deferred is not None for refusal in plan.refused),
        drift=Counter(change.cause.value for change in drifted(plan)),
        parked=plan.parked if held and not overlaps else (),
        error="; ".join(errors) or None,
        code=_code(report, failure) if errors else None,
        is_coded=bool(plan.problems),
        unavailable=failure is not None and not isinstance(failure, PlaceChanged | PassOverdue),
        retryable=bool(unknown and failure is None) or is_transient or any(one.kind in FAILURES for one in outcomes),
        retry_after=failure.retry_after if isinstance(failure, TransientError) else None,
        next_moment=_next_moment(report, settled_at),
        deletes_waiting=report.deletes_waiting,
        waits_until=report.waits_until,
        early=report.early,
        report=report,
        run=run,
    )


def failed_pass(target: Target, error: Exception, text: str | None = None) -> PassResult:
    """The result of a pass that came to no plan. What is wrong with the state directory or a file may be gone as soon; only a
    store says that it is for good. `text` stands in for the error's own."""
    return PassResult(
        target,
        error=text or str(error),
        code=error.code if isinstance(error, KvsyncError) else ErrorCode.BUG,
        unavailable=isinstance(error, StoreError),
        retryable=isinstance(error, TransientError) or not isinstance(error, StoreError),
        retry_after=error.retry_after if isinstance(error, TransientError) else None,
    )


def _code(report: TargetReport, failure: StoreError | None) -> ErrorCode:
    """The code of the first error of a pass."""
    plan = report.plan
    code = plan.code or report.code or (None if failure is None else failure.code)
    if code is None and plan.error is None and report.error is None:
        code = next((one.code for one in plan.problems), None) if plan.complete else ErrorCode.INCOMPLETE_LISTING
        return code or ErrorCode.PLACE_UNUSABLE  # parked without changes: two targets share a place
    return code or ErrorCode.STORE_ERROR


def _next_moment(report: TargetReport, settled_at: float | None) -> float | None:
    """When to come back: as the plan says, once more may be deleted, or once the store can be believed."""
    has_written = any(one.kind is OutcomeKind.APPLIED for one in report.outcomes)
    moments = (report.plan.next_moment, report.waits_until, settled_at if has_written else None)
    return min((one for one in moments if one is not None), default=None)


def _pending(plan: TargetPlan, report: TargetReport) -> int:
    done = sum(outcome.kind in _DONE for outcome in report.outcomes) + report.namespace_deleted
    return len(plan.changes) + len(plan.refused) + len(plan.reported) + plan.deletes_namespace - done
