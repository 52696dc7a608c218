"""What a plan makes of removals that wait, and of the old names of moves."""

from __future__ import annotations

import pytest

from kvsync.model.change import Action
from kvsync.model.desired import Move
from kvsync.model.entry import Identity, Mode
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


@pytest.mark.parametrize("is_ours", [True, False])
def test_the_old_name_goes_only_once_the_new_one_is_ours(is_ours: bool) -> None:
    """The old name of a move is deleted when an entry that is only created under the new name is ours, and kept when another
    writer made it."""
    wanted = desired_of(entry("new", mode=Mode.CREATE_ONLY), moved=(Move("old", "new"),))
    held = {OLD: actual("old", mark=mark("v")), NEW: actual("new", mark=mark("v") if is_ours else None)}
    plan = TargetModel(wanted, held).plan()
    assert [(change.action, change.identity) for change in plan.changes] == ([(Action.DELETE, OLD)] if is_ours else [])
    assert [refusal.identity for refusal in plan.refused] == ([] if is_ours else [OLD])
