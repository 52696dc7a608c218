"""Exit codes: maps errors, plans and reports to the code for the shell.

When several hold, the first of this order is the one: 78, 1, 4, 3, 2, 0.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from kvsync.errors import (
    ClaimHeld,
    InvalidInput,
    LeaseHeld,
    LockHeld,
    NotApproved,
    StandbyError,
    StateDirUntrusted,
    UsageError,
)

if TYPE_CHECKING:
    from kvsync.app.daemon import OnceResult
    from kvsync.model.entry import Target
    from kvsync.model.plan import Plan, TargetPlan, TargetReport


class Exit(IntEnum):
    """The exit codes."""

    DONE = 0
    ERROR = 1
    PENDING = 2
    PARTIAL = 3
    REFUSED = 4
    LOCKED = 5
    USAGE = 64
    INVALID = 78
    INTERRUPTED = 130
    TERMINATED = 143


_MEANINGS: Final = {
    Exit.DONE: "success, nothing pending",
    Exit.ERROR: "error",
    Exit.PENDING: "changes or drift pending",
    Exit.PARTIAL: "partial: some entries failed, conflicted or were refused",
    Exit.REFUSED: "refused: guard, maintenance window, pause, earlier wave, limit on deletes, or missing approval",
    Exit.LOCKED: "another process holds the lock or the lease",
    Exit.USAGE: "invalid command line",
    Exit.INVALID: "invalid configuration or state files, or untrusted state directory",
}
_WORST_FIRST: Final = (Exit.INVALID, Exit.ERROR, Exit.REFUSED, Exit.PARTIAL, Exit.PENDING)
_UNDONE: Final = frozenset({"failed", "unknown", "conflict", "stale", "refused", "not-attempted"})


def meaning(code: Exit) -> str:
    """The code in words, for help texts."""
    return _MEANINGS[code]


def worst(codes: Collection[Exit]) -> Exit:
    """The one code that represents several."""
    return next((code for code in _WORST_FIRST if code in codes), Exit.DONE)


def of_error(error: BaseException) -> Exit:
    """The code of an error that ended a command."""
    kinds = (
        (UsageError, Exit.USAGE),
        (InvalidInput, Exit.INVALID),
        (StateDirUntrusted, Exit.INVALID),
        (LockHeld, Exit.LOCKED),
        (LeaseHeld, Exit.LOCKED),
        (ClaimHeld, Exit.LOCKED),
        (StandbyError, Exit.LOCKED),
        (NotApproved, Exit.REFUSED),
        (KeyboardInterrupt, Exit.INTERRUPTED),
    )
    return next((code for kind, code in kinds if isinstance(error, kind)), Exit.ERROR)


def of_plan(plan: Plan, *, problems: bool, pending: bool = False) -> Exit:
    """The code of a plan that is only shown. `pending` says whether something to do counts."""
    from kvsync.model.plan import pending as is_pending

    held = any(target.parked and not target.approved for target in plan.targets)
    codes = {
        Exit.INVALID if problems else Exit.DONE,
        Exit.ERROR if any(_is_unknown(target) for target in plan.targets) else Exit.DONE,
        Exit.REFUSED if held else Exit.DONE,
        Exit.PENDING if pending and is_pending(plan) else Exit.DONE,
    }
    return worst(codes)


def of_reports(reports: Collection[TargetReport], *, problems: bool, held: Collection[Target]) -> Exit:
    """The code of what was applied. `held` are the targets that wait for a person or a moment: a guard, a pause, a window."""
    codes = {_of_report(report, held=report.plan.target in held) for report in reports}
    return worst({*codes, Exit.INVALID if problems else Exit.DONE})


def _is_unknown(plan: TargetPlan) -> bool:
    """True when nobody knows whether more is pending: the store was not listed, or not to its end. What an incomplete listing
    shows is parked."""
    return plan.error is not None or not (plan.complete or plan.parked)


def _of_report(report: TargetReport, *, held: bool) -> Exit:
    kinds = set(map(str, {outcome.kind for outcome in report.outcomes}))
    if _is_unknown(report.plan) or (report.error and "applied" not in kinds):
        return Exit.ERROR
    if held or report.deletes_waiting or report.early:
        return Exit.REFUSED
    return Exit.PARTIAL if report.error or kinds & _UNDONE else Exit.DONE


def of_signal(name: str) -> Exit:
    """The code of a command that a signal ended early."""
    return Exit.TERMINATED if name == "SIGTERM" else Exit.INTERRUPTED


def of_once(result: OnceResult, *, observe: bool) -> Exit:
    """The code of one pass of the daemon over everything."""
    if result.interrupted:
        return of_signal(result.interrupted)
    codes = {Exit.INVALID if result.loaded.problems else Exit.DONE}
    waiting, on_pause = result.denied_by is not None or bool(result.paused), frozenset(result.paused)
    for one in result.results:
        if one.error and one.target not in result.loaded.held:
            codes.add(Exit.ERROR)
        if one.failed or any(one.changes.get(kind) for kind in _UNDONE if kind != "not-attempted"):
            codes.add(Exit.PARTIAL)
        paused = result.denied_by is not None or one.target in on_pause
        if one.parked or one.deletes_waiting or one.early or (waiting and paused and one.pending and not observe):
            codes.add(Exit.REFUSED)
    return worst(codes)
