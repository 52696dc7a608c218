"""What a plan makes of removals that wait, and of the old names of moves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvsync.model.change import Action
from kvsync.model.desired import Move
from kvsync.model.entry import Applied, Identity, Mode
from kvsync.planning.plan_inputs import PlanInputs
from tests.planning.target_model import NOW, TargetModel, actual, desired_of, entry, mark

OLD, NEW = Identity("old"), Identity("new")


@pytest.mark.parametrize(("since", "is_due"), [(NOW - 59, False), (NOW - 60, True), (NOW - 61, True)])
def test_a_removal_is_due_when_its_grace_ends(since: float, is_due: bool) -> None:
    """A removal waits for as long as the grace says and no longer: at its end it is a change."""
    model = TargetModel(desired_of(), {OLD: actual("old", mark=mark("v"))})
    plan = model.plan(PlanInputs(undesired_since={OLD: since}, grace=60))
    assert [change.identity for change in plan.changes] == ([OLD] if is_due else [])
    assert [change.identity for change in plan.reported] == ([] if is_due else [OLD])


def test_an_entry_that_expired_is_deleted_without_grace() -> None:
    """The grace is for entries that vanish from the files; one that the files themselves end is deleted at its end."""
    model = TargetModel(desired_of(entry("old", expires_at=int(NOW) - 1)), {OLD: actual("old", mark=mark("v"))})
    plan = model.plan(PlanInputs(grace=60))
    assert [(change.action, change.identity) for change in plan.changes] == [(Action.DELETE, OLD)]


@pytest.mark.parametrize(("rounded_by", "is_late"), [(0, True), (-10, True), (10, True), (11, False)])
def test_a_late_listing_may_round_the_end_of_a_lifetime(rounded_by: int, is_late: bool) -> None:
    """A listing that still shows the entry as it was before a renewal does not cause a second one, even where the store
    rounds the end. Another end is another writer's."""
    before = actual("k", mark=mark("v", ttl=900), expires_at=NOW + 30)
    identity, renewed = before.identity, Applied(mark("v", ttl=900), "2", NOW + 900)
    held = {identity: replace(before, expires_at=NOW + 30 + rounded_by)}
    model = TargetModel(desired_of(entry("k", ttl=900)), held, {identity: renewed})
    plan = model.plan(PlanInputs(settling={identity: NOW + 5}, overwritten={identity: [before]}))
    assert [change.action for change in plan.changes] == ([] if is_late else [Action.RENEW])


@pytest.mark.parametrize("is_ours", [True, False])
def test_the_old_name_goes_only_once_the_new_one_is_ours(is_ours: bool) -> None:
    """The old name of a move is deleted when an entry that is only created under the new name is ours, and kept when another
    writer made it."""
    wanted = desired_of(entry("new", mode=Mode.CREATE_ONLY), moved=(Move("old", "new"),))
    held = {OLD: actual("old", mark=mark("v")), NEW: actual("new", mark=mark("v") if is_ours else None)}
    plan = TargetModel(wanted, held).plan()
    assert [(change.action, change.identity) for change in plan.changes] == ([(Action.DELETE, OLD)] if is_ours else [])
    assert [refusal.identity for refusal in plan.refused] == ([] if is_ours else [OLD])


def test_what_comes_after_a_refused_entry_waits() -> None:
    """An entry that is written after another one is not written while that one is refused; the others are."""
    wanted = desired_of(entry("a", "2"), entry("b", after=("a",)), entry("c"))
    plan = TargetModel(wanted, {Identity("a"): actual("a", "1", mark=mark("1"), locked=True)}).plan()
    assert [change.identity.key for change in plan.changes] == ["c"]
    assert [(one.identity.key, one.deferred is not None) for one in plan.refused] == [("a", False), ("b", True)]
