"""Applies a saved plan: selects the changes that are still the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kvsync.errors import InvalidInput, NotApproved, Problem
from kvsync.util.values import dataclass

if TYPE_CHECKING:
    from kvsync.app import Workspace
    from kvsync.desired import DesiredState
    from kvsync.model.change import Outcome
    from kvsync.model.entry import Identity, Target
    from kvsync.model.plan import Plan, TargetPlan, TargetReport
    from kvsync.rendering.plan_selection import PlanSelection
    from kvsync.rendering.saved_plan import SavedPlan

_MOST_SHOWN = 20
_MOST_BYTES = 512 * 2**20  # a million changes; a plan file may come from where others write
_CURE = "create a new plan with kvsync plan --out FILE and have it reviewed"
_ALTERED = "the file was changed after kvsync saved it"
_UNKNOWN = "cannot verify that the file is unchanged, because it was saved with another state directory (another key)"
_UNKNOWN_EXACT = "nothing was applied; give both state directories the same file `key`, and create a new plan"
_UNKNOWN_SAID = (
    "kvsync plans again and applies only the changes that both plans contain; it cannot compare sensitive values"
)


@dataclass(frozen=True, slots=True)
class SelectedPlan:
    """The part of a plan that must be applied, and outcomes of what went stale since it was saved, by target."""

    plan: Plan
    stale: Mapping[Target, tuple[Outcome, ...]] = field(default_factory=dict)

    def completed(self, report: TargetReport) -> TargetReport:
        """A target's report with what went stale."""
        return replace(report, outcomes=report.outcomes + self.stale.get(report.plan.target, ()))


def read(file: str, workspace: Workspace) -> SavedPlan:
    """The plan in a file. Raises InvalidInput when it is none, NotApproved when it was saved for something else."""
    from kvsync.rendering import saved_plan as saved

    plan = saved.load(read_text(file), file)
    why = saved.mismatch(plan, workspace.config.owner, workspace.config.environment)
    if why is not None:
        raise NotApproved(f"{file}: {why}; create a new one with kvsync plan --out FILE")
    return plan


def read_text(file: str) -> str:
    """The text of a plan file. Raises InvalidInput when it cannot be read, or cannot be one."""
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise InvalidInput([Problem(f"{file}: not a plan file: it has more than {_MOST_BYTES // 2**20} MiB")])
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(
            [Problem(f"{file}: not a plan file: it is not UTF-8 text; create one with kvsync plan --out FILE")]
        ) from None
    except OSError as error:
        raise InvalidInput([Problem(f"{file}: cannot read the plan file: {error.strerror}")]) from None


def check(plan: SavedPlan, workspace: Workspace, file: str, *, exact: bool) -> str | None:
    """Check whether the file is as it was saved. Returns what cannot be checked, or was changed, as a sentence.

    With `exact`, raises NotApproved for an altered file, and for one that was saved with another key: the file itself names its
    key, so whoever alters it can name any."""
    seal = workspace.state.seal
    if not plan.is_comparable(seal):
        if exact:
            raise NotApproved(f"{file}: {_UNKNOWN}; {_UNKNOWN_EXACT}")
        return f"{file}: {_UNKNOWN}. {_UNKNOWN_SAID}"
    if plan.is_altered(seal):
        if exact:
            raise NotApproved(f"{file}: {_ALTERED}, so nothing was applied; {_CURE}")
        return f"{file}: {_ALTERED}; only the changes that a new plan also contains are applied"
    return None


def targets_of(plan: SavedPlan, loaded: DesiredState) -> tuple[str, ...]:
    """The names of the saved targets that still exist."""
    return tuple(str(target) for target in plan.targets if target in loaded.targets or target in loaded.held)


def choose(plan: SavedPlan, fresh: Plan, workspace: Workspace) -> SelectedPlan:
    """Narrow a fresh plan to what was saved. What was saved for another place is stale."""
    from kvsync.model.plan import TargetPlan
    from kvsync.rendering.plan_selection import select

    stores = workspace.stores
    selections = select(plan, fresh, workspace.state.seal, lambda target: stores[target.store].place(target.namespace))
    known = {one.target: one for one in fresh.targets}
    kept = {target: _without_waiting(one, known.get(target)) for target, one in sorted(selections.items())}
    targets = tuple(
        replace(known.get(target) or TargetPlan(target, "", ""), changes=one.changes, refused=(), reported=())
        for target, one in kept.items()
    )
    stale = {target: one.stale for target, one in kept.items() if one.stale}
    return SelectedPlan(replace(fresh, targets=targets), stale)


def _without_waiting(selection: PlanSelection, fresh: TargetPlan | None) -> PlanSelection:
    """The selection without what is written after an entry that went stale and is not as desired: that is skipped."""
    from kvsync.model.change import Outcome, OutcomeKind
    from kvsync.planning.order import waiting_changes, why_waiting
    from kvsync.rendering.plan_selection import PlanSelection

    is_done = _nothing if fresh is None else _settled(fresh)
    waiting = waiting_changes(selection.changes, [one.identity for one in selection.stale if not is_done(one.identity)])
    skipped = tuple(
        Outcome(one.identity, one.action, OutcomeKind.SKIPPED, why_waiting(one, waiting[one.identity]))
        for one in selection.changes
        if one.identity in waiting
    )
    changes = tuple(one for one in selection.changes if one.identity not in waiting)
    return PlanSelection(changes, selection.stale + skipped)


def exactly(chosen: SelectedPlan, fresh: Plan, file: str) -> SelectedPlan:
    """What was chosen of a fresh plan of everything, when no more and nothing else is to be done than was saved; what has been
    done since is left out. Raises NotApproved otherwise."""
    others = sorted({*_stale(chosen, fresh), *_unseen(chosen, fresh)})
    if not others:
        return replace(chosen, stale={})
    more = [f"and {len(others) - _MOST_SHOWN:,} more"] if len(others) > _MOST_SHOWN else []
    raise NotApproved(f"{file}: the plan is stale, so nothing was applied; {_CURE}", [*others[:_MOST_SHOWN], *more])


def _stale(chosen: SelectedPlan, fresh: Plan) -> Iterator[str]:
    """What was saved, is still to be done, and would be done differently."""
    from kvsync.model.change import Action

    done = {one.target: _settled(one) for one in fresh.targets}
    for target, outcomes in chosen.stale.items():
        for one in outcomes:
            is_done = done.get(target, _nothing)
            if one.action is not Action.RENEW and not is_done(one.identity):
                yield f"{target}: {one.identity}: {one.error}"


def _unseen(chosen: SelectedPlan, fresh: Plan) -> Iterator[str]:
    """Changes of the fresh plan that were not saved; the other function has those that were saved and differ."""
    from kvsync.model.change import Action

    known = {(target, one.identity) for target, outcomes in chosen.stale.items() for one in outcomes}
    known |= {(one.target, change.identity) for one in chosen.plan.targets for change in one.changes}
    for plan in fresh.targets:
        for change in plan.changes:
            if change.action is not Action.RENEW and (plan.target, change.identity) not in known:
                yield f"{plan.target}: {change.identity}: the new plan would {change.action} it, the saved plan would not"


def _settled(plan: TargetPlan) -> Callable[[Identity], bool]:
    """Whether nothing is to be done to an entry any more, for entries of a target that could be planned."""
    open_ones = {change.identity for change in plan.changes} | {refusal.identity for refusal in plan.refused}
    is_planned = not plan.error and not plan.problems
    return lambda identity: is_planned and identity not in open_ones


def _nothing(_identity: Identity) -> bool:
    return False
