"""Applying a plan that was saved: what of it is still the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kvsync.errors import InvalidInput, NotApproved, Problem

if TYPE_CHECKING:
    from kvsync.core.model import Outcome, Target
    from kvsync.core.plan import Plan, TargetReport
    from kvsync.core.saved import SavedPlan
    from kvsync.sources import Loaded
    from kvsync.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Chosen:
    """The part of a plan that shall be applied, and outcomes of what went stale since it was saved, by target."""

    plan: Plan
    stale: Mapping[Target, tuple[Outcome, ...]] = field(default_factory=dict)

    def completed(self, report: TargetReport) -> TargetReport:
        """A target's report with what went stale."""
        return replace(report, outcomes=report.outcomes + self.stale.get(report.plan.target, ()))


def read(file: str, workspace: Workspace) -> SavedPlan:
    """The plan in a file. Raises InvalidInput when it is none, NotApproved when it was saved for something else."""
    from kvsync.core import saved

    try:
        text = Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InvalidInput([Problem(f"{file}: is not a plan: it is not UTF-8 text")]) from None
    except OSError as error:
        raise InvalidInput([Problem(f"{file}: the plan cannot be read: {error.strerror}")]) from None
    plan = saved.load(text, file)
    why = saved.mismatch(plan, workspace.config.owner, workspace.config.environment)
    if why is not None:
        raise NotApproved(f"{file}: {why}; make a new one with kvsync plan --out FILE")
    return plan


def targets_of(plan: SavedPlan, loaded: Loaded) -> tuple[str, ...]:
    """The names of the saved targets that still exist."""
    return tuple(str(target) for target in plan.targets if target in loaded.targets or target in loaded.held)


def choose(plan: SavedPlan, fresh: Plan, workspace: Workspace) -> Chosen:
    """Narrow a fresh plan to what was saved."""
    from kvsync.core import saved
    from kvsync.core.plan import TargetPlan

    selections = saved.select(plan, fresh, workspace.state.seal)
    known = {one.target: one for one in fresh.targets}
    targets = tuple(
        replace(known.get(target) or TargetPlan(target, "", ""), changes=one.changes, refused=(), reported=())
        for target, one in sorted(selections.items())
    )
    stale = {target: one.stale for target, one in selections.items() if one.stale}
    return Chosen(replace(fresh, targets=targets), stale)
