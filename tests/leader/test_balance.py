"""A fleet divides its targets by cost, gradually, and leaves none to nobody."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from kvsync.leader.balance import TOLERANCE, Division, targets_to_claim, targets_to_release
from kvsync.model.entry import Target

Fleet = dict[str, set[Target]]


def settle(costs: Mapping[Target, float], fleet: Fleet, steps: int) -> list[int]:
    """Let every replica take and shed so many times; returns how many targets moved in each step."""
    moved = []
    for _ in range(steps):
        before = {name: set(targets) for name, targets in fleet.items()}
        for name in fleet:
            others = [sum(costs[target] for target in held) for other, held in fleet.items() if other != name]
            free = set(costs) - set().union(*fleet.values())
            fleet[name] |= set(targets_to_claim(Division(costs, fleet[name], free, others), name))
            fleet[name] -= set(targets_to_release(Division(costs, fleet[name], (), others)))
        moved.append(sum(len(fleet[name] ^ before[name]) for name in fleet))
    return moved


@pytest.mark.parametrize("seed", range(5))
def test_work_is_divided_by_cost_and_then_stays(seed: int) -> None:
    """Whatever targets cost, within a few steps each is held once, loads differ by little, and nothing moves any more; a
    replica that joins gets its share, and what a dead one held is taken."""
    rng = random.Random(seed)
    costs = {Target("edge", f"n{number}"): rng.choice([0.1, 0.1, 0.2, 1.0]) for number in range(200)}
    fleet: Fleet = {"a": set(), "b": set()}
    for change in (lambda: None, lambda: fleet.update(c=set(), d=set()), lambda: fleet.pop("a")):
        change()
        moved = settle(costs, fleet, 30)
        held = [target for targets in fleet.values() for target in targets]
        assert sorted(held) == sorted(costs)
        assert moved[-1] == 0
        fair = sum(costs.values()) / len(fleet)
        for targets in fleet.values():
            assert abs(sum(costs[target] for target in targets) - fair) <= fair * 2 * TOLERANCE + max(costs.values())


def test_one_target_that_outweighs_all_others_stays_where_it_is() -> None:
    """What cannot be divided does not wander between replicas."""
    costs = {Target("edge", "large"): 10.0} | {Target("edge", f"n{number}"): 0.1 for number in range(3)}
    fleet: Fleet = {"a": set(costs), "b": set()}
    moved = settle(costs, fleet, 20)
    assert moved[-1] == 0
    assert Target("edge", "large") in fleet["a"]
    assert sum(map(len, fleet.values())) == len(costs)
