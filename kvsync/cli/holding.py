"""What keeps a plan from being applied by hand: a window that denies it, a pause, a guard that nobody has released."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvsync.errors import NotApproved

if TYPE_CHECKING:
    from kvsync.core.model import Target
    from kvsync.core.plan import Plan, TargetPlan, TargetReport
    from kvsync.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Split:
    """A plan in two: what may be applied now, and the reports of the targets that wait, with all that wait for a person."""

    plan: Plan
    withheld: tuple[TargetReport, ...]
    held: frozenset[Target]

    @property
    def has_work(self) -> bool:
        """True when there is a change that may be applied."""
        return any(one.changes for one in self.plan.targets if one.target not in self.held)


def split(workspace: Workspace, plan: Plan, approvals: Collection[str]) -> Split:
    """Set aside the targets that are paused; those that are parked stay in the plan, where applying leaves them alone."""
    from kvsync.reconcile import withheld

    paused = {one.target: why for one in plan.targets if one.changes and (why := _paused(workspace, one)) is not None}
    parked = {one.target for one in plan.targets} - workspace.released(plan, approvals)
    going = tuple(one for one in plan.targets if one.target not in paused)
    waiting = tuple(withheld(one, paused[one.target]) for one in plan.targets if one.target in paused)
    return Split(replace(plan, targets=going), waiting, frozenset({*paused, *parked}))


def insist_on_open_window(workspace: Workspace) -> None:
    """Raise NotApproved when a window of the configuration denies applying now."""
    from kvsync.core.render.words import moment
    from kvsync.daemon.windows import is_denied, next_change

    windows, now = workspace.config.run.windows, workspace.clock.now()
    window = is_denied(windows, now)
    if window is None:
        return
    until = next_change(windows, now)
    end = f" until {moment(until)}" if until is not None else ""
    kind = "deny" if window.deny else "allow"
    raise NotApproved(
        f"nothing is applied now{end}: run.windows says so ({kind}: {window.cron!r}); plans are still made"
    )


def _paused(workspace: Workspace, plan: TargetPlan) -> str | None:
    pause = workspace.state.pauses.find(plan.target)
    if pause is None:
        return None
    because = f" ({pause.reason})" if pause.reason else ""
    return f"paused{because}; kvsync resume {pause} ends it"
