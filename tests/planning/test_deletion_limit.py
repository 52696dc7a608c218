"""The limit on deletes over all targets: what waits of which plan."""

from __future__ import annotations

from kvsync.model.change import Action, Change, Class
from kvsync.model.entry import Actual, Identity, Target
from kvsync.model.plan import TargetPlan
from kvsync.planning.deletion_limit import DeletionBudget, with_waiting


def plan_of(namespace: str, deletes: int, *, parked: bool = False, approved: bool = False) -> TargetPlan:
    changes = tuple(
        Change(Action.DELETE, Class.REMOVED, one, before=Actual(one, "1"))
        for one in (Identity(f"k{number}") for number in range(deletes))
    )
    reasons = ("too many",) if parked else ()
    return TargetPlan(Target("main", namespace), "memory", "digest", parked=reasons, approved=approved, changes=changes)


def waiting(*plans: TargetPlan, limit: int) -> list[str]:
    return [
        (plan.waiting[0].partition(" wait")[0] if plan.waiting else "") for plan in with_waiting(plans, limited(limit))
    ]


def limited(limit: int) -> DeletionBudget:
    return DeletionBudget(limit)


def test_what_is_left_goes_to_the_first() -> None:
    """Targets take what is left of the limit in their order; the rest of their deletes waits."""
    assert waiting(plan_of("a", 2), plan_of("b", 2), plan_of("c", 1), limit=3) == ["", "1 of 2 deletes", "1 delete"]


def test_a_parked_plan_takes_nothing() -> None:
    """A parked plan deletes nothing, so nothing of it waits, and the limit is left to others; an approved one counts."""
    parked, after = plan_of("a", 2, parked=True), plan_of("b", 2)
    assert waiting(parked, after, limit=2) == ["", ""]
    approved = plan_of("a", 2, parked=True, approved=True)
    assert waiting(approved, after, limit=2) == ["", "2 deletes"]
