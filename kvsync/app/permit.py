"""Permit for commands: asks `planning/permit.py` about windows, pauses and approvals, and splits a plan by the answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from kvsync.planning.permit import Hold, PermitInputs, hold_of
from kvsync.util.values import dataclass

if TYPE_CHECKING:
    from kvsync.app import Workspace
    from kvsync.model.entry import Target
    from kvsync.model.plan import Plan, TargetPlan, TargetReport


@dataclass(frozen=True, slots=True)
class PermittedPlan:
    """A plan in two: what may be applied now, and the reports of the targets that wait, with all that wait for a person or a
    moment. `denied` says which window kept changes back, None when none did."""

    plan: Plan
    withheld: tuple[TargetReport, ...]
    held: frozenset[Target]
    denied: str | None = None

    @property
    def has_work(self) -> bool:
        """True when there is something that may be applied."""
        going = (one for one in self.plan.targets if one.target not in self.held)
        return any(one.changes or one.deletes_namespace for one in going)


def split(workspace: Workspace, plan: Plan) -> PermittedPlan:
    """Set aside the targets that are paused, and all with changes while a window denies applying; those that are parked stay
    in the plan, where applying leaves them alone."""
    from kvsync.reconcile import withheld

    window = _denied(workspace)
    holds = {one.target: hold for one in plan.targets if (hold := _hold(workspace, one, window)) is not None}
    reasons = {target: window if hold is Hold.WINDOW else _paused(workspace, target) for target, hold in holds.items()}
    waiting = {one.target: reasons[one.target] or "" for one in plan.targets if holds.get(one.target) in _WITHHELD}
    going = tuple(one for one in plan.targets if one.target not in waiting)
    reports = tuple(withheld(one, waiting[one.target]) for one in plan.targets if one.target in waiting)
    denied = window if Hold.WINDOW in holds.values() else None
    return PermittedPlan(replace(plan, targets=going), reports, frozenset(holds), denied)


def denial(workspace: Workspace, plan: TargetPlan) -> str | None:
    """Why a target must not be applied by hand now, because of a pause or a window; None if it may."""
    window = _denied(workspace)
    hold = _hold(workspace, plan, window)
    if hold is Hold.WINDOW:
        return window
    return _paused(workspace, plan.target) if hold is Hold.PAUSED else None


def target_denial(workspace: Workspace, targets: Iterable[Target]) -> str | None:
    """Why none of these targets may be changed by hand now, because of a window or a pause; None if all may."""
    reasons = (_denied(workspace), *(_paused(workspace, target) for target in targets))
    return next((reason for reason in reasons if reason is not None), None)


_WITHHELD = (Hold.PAUSED, Hold.WINDOW)
"""Why changes are set aside here; what is parked stays in the plan, and applying leaves it alone."""


def _hold(workspace: Workspace, plan: TargetPlan, window: str | None) -> Hold | None:
    """Why a target of the plan may not be applied by hand now. Without changes, only an approval can be missing."""
    is_parked = bool(plan.parked) and not plan.approved
    if not (plan.changes or plan.deletes_namespace):
        return hold_of(PermitInputs(is_parked=is_parked))
    is_paused = workspace.state.pauses.is_paused(plan.target)
    return hold_of(PermitInputs(is_paused=is_paused, is_parked=is_parked, is_denied=window is not None))


def _denied(workspace: Workspace) -> str | None:
    """Which window of the configuration denies applying now, and until when."""
    from kvsync.daemon.windows import is_denied, next_change
    from kvsync.rendering.words import moment

    windows, now = workspace.config.run.windows, workspace.clock.now()
    window = is_denied(windows, now)
    if window is None:
        return None
    until = next_change(windows, now)
    end = f" until {moment(until)}" if until is not None else ""
    kind = "deny" if window.deny else "allow"
    return f"nothing is applied now{end}, because of run.windows ({kind}: {window.cron!r}); plans are still made"


def _paused(workspace: Workspace, target: Target) -> str | None:
    pause = workspace.state.pauses.find(target)
    if pause is None:
        return None
    because = f" ({pause.reason})" if pause.reason else ""
    return f"paused{because}; run kvsync resume {pause} to end the pause"
