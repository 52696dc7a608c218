"""Selects the changes of a fresh plan that are still those of a saved one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kvsync.model.change import Change, Outcome, OutcomeKind
from kvsync.model.entry import Identity, Target
from kvsync.model.place import Place
from kvsync.model.plan import Plan, TargetPlan
from kvsync.rendering.json import Seal, change_document
from kvsync.rendering.saved_plan import SavedChange, SavedPlace, SavedPlan, saved_change


@dataclass(frozen=True, slots=True)
class PlanSelection:
    """What is left of a saved plan for one target: changes to apply, and an outcome `stale` with a reason for each other."""

    changes: tuple[Change, ...] = ()
    stale: tuple[Outcome, ...] = ()


def select(
    saved: SavedPlan, fresh: Plan, seal: Seal, configured: Callable[[Target], Place]
) -> dict[Target, PlanSelection]:
    """For every target of the saved plan: the changes of the fresh plan that are the same, and what went stale.

    The same is: place, action, version seen (etag; the content where the store has none), content and lifetime to be written.
    Fresh changes that the saved plan does not hold are left out. `configured` is the place of a target as the configuration
    alone knows it.
    """
    plans = {plan.target: plan for plan in fresh.targets}
    comparable = saved.is_comparable(seal)
    selections: dict[Target, PlanSelection] = {}
    for target, changes in saved.targets.items():
        plan = plans.get(target)
        elsewhere = _elsewhere(saved.places[target], plan, configured)
        selections[target] = (
            _select(changes, plan, seal, comparable) if elsewhere is None else _all_stale(changes, elsewhere)
        )
    return selections


def _elsewhere(old: SavedPlace | None, plan: TargetPlan | None, configured: Callable[[Target], Place]) -> str | None:
    """Why a target's saved changes belong to another place than it has now, None when they do not. A target that cannot be
    planned has reasons of its own. A place that did not exist yet may exist now; then the configuration decides."""
    if plan is None or plan.error or plan.place is None:
        return None
    if old is None:
        return "the plan does not contain the place it was saved for"
    if old.id is None:
        is_same = old.description == str(configured(plan.target))
    else:
        is_same = plan.place.is_resolved and plan.place.key == old.id
    return None if is_same else f"the plan was saved for another place: it was {old.description}, it is {plan.place}"


def _all_stale(changes: Iterable[SavedChange], reason: str) -> PlanSelection:
    return PlanSelection(stale=tuple(Outcome(one.identity, one.action, OutcomeKind.STALE, reason) for one in changes))


def _select(changes: Iterable[SavedChange], plan: TargetPlan | None, seal: Seal, comparable: bool) -> PlanSelection:
    fresh = {change.identity: change for change in plan.changes} if plan else {}
    selected: list[Change] = []
    stale: list[Outcome] = []
    for old in changes:
        new = fresh.get(old.identity)
        reason = _gone(old.identity, plan) if new is None else _moved(old, new, seal, comparable)
        if new is not None and reason is None:
            selected.append(new)
        else:
            stale.append(Outcome(old.identity, old.action, OutcomeKind.STALE, reason))
    return PlanSelection(tuple(selected), tuple(stale))


def _gone(identity: Identity, plan: TargetPlan | None) -> str:
    """Why there is no fresh change for an entry."""
    if plan is None:
        return "its target is no longer part of the plan"
    if plan.error or plan.problems:
        return f"its target cannot be planned now: {plan.error or plan.problems[0]}"
    refused = next((refusal.reason for refusal in plan.refused if refusal.identity == identity), None)
    if refused is not None:
        return f"it would be refused now: {refused}"
    return "it no longer needs a change"


def _moved(old: SavedChange, change: Change, seal: Seal, comparable: bool) -> str | None:
    """Why a fresh change is not the one that was saved, None when it is."""
    new = saved_change(change_document(change, seal))
    if new.action is not old.action:
        return f"the new plan would {new.action} it, the saved plan would {old.action} it"
    if (old.sensitive or new.sensitive) and not comparable:
        return "its sensitive value cannot be compared, because the plan was saved with another state directory"
    if _version(old) != _version(new):
        return "it changed in the store after the plan was saved"
    if (old.after, old.moved_to, old.moved_to_target) != (new.after, new.moved_to, new.moved_to_target):
        return "the files changed after the plan was saved"
    return None


def _version(change: SavedChange) -> tuple[str | None, str | None]:
    """What represents the version seen: the etag, or the content where a store has no versions."""
    return change.etag, change.before.fingerprint if change.before and change.etag is None else None
