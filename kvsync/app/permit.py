"""Reasons that block applying a plan from the command line: a maintenance window, a pause, or an unapproved guard."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvsync.app import Workspace
    from kvsync.model.entry import Target
    from kvsync.model.plan import Plan, TargetPlan, TargetReport


@dataclass(frozen=True, slots=True)
class Split:
    """A plan in two: what may be applied now, and the reports of the targets that wait, with all that wait for a person or a
    moment. `denied` says which window kept changes back, None when none did."""

    plan: Plan
    withheld: tuple[TargetReport, ...]
    held: frozenset[Target]
    denied: str | None = None

    @property
    def has_work(self) -> bool:
        """True when there is a change that may be applied."""
        return any(one.changes for one in self.plan.targets if one.target not in self.held)


def split(workspace: Workspace, plan: Plan) -> Split:
    """Set aside the targets that are paused, and all with changes while a window denies applying; those that are parked stay
    in the plan, where applying leaves them alone."""
    from kvsync.reconcile import withheld

    parked = {one.target for one in plan.targets if one.parked and not one.approved}
    waiting = {one.target: why for one in plan.targets if one.changes and (why := _paused(workspace, one)) is not None}
    held = waiting.keys() | parked
    ready = [one.target for one in plan.targets if one.changes and one.target not in held]
    denied = _denied(workspace) if ready else None
    if denied is not None:
        waiting |= dict.fromkeys(ready, denied)
    going = tuple(one for one in plan.targets if one.target not in waiting)
    reports = tuple(withheld(one, waiting[one.target]) for one in plan.targets if one.target in waiting)
    return Split(replace(plan, targets=going), reports, frozenset({*waiting, *parked}), denied)


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


def _paused(workspace: Workspace, plan: TargetPlan) -> str | None:
    pause = workspace.state.pauses.find(plan.target)
    if pause is None:
        return None
    because = f" ({pause.reason})" if pause.reason else ""
    return f"paused{because}; run kvsync resume {pause} to end the pause"
