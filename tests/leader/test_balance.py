"""A fleet divides its targets by cost, gradually, and leaves none to nobody."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from kvsync.app.fleet import TIMING
from kvsync.leader.balance import TOLERANCE, Division, targets_to_claim, targets_to_release
from kvsync.model.entry import Target

Fleet = dict[str, set[Target]]

TAKEN_OVER_WITHIN = 15.0
"""Seconds, as docs/fleet.md promises."""


def settle(costs: Mapping[Target, float], fleet: Fleet, steps: int) -> list[int]:
    """Let every replica take and shed so many times; returns how many targets moved in each step."""
    moved = []
    for _ in range(steps):
        before = {name: set(targets) for name, targets in fleet.items()}
        for name in fleet:
            others = [sum(costs[target] for target in held) for other, held in fleet.items() if other != name]
            free = set(costs) - set().union(*fleet.values())
            fleet[name] |= set(targets_to_claim(Division(costs, fleet[name], free, others), name))
            free = set(costs) - set().union(*fleet.values())
            fleet[name] -= set(targets_to_release(Division(costs, fleet[name], free, others)))
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


@pytest.mark.parametrize("seed", range(20))
def test_the_targets_of_a_dead_replica_are_taken_in_time(seed: int) -> None:
    """Within 15 s of its last sign of life: its lease ends first, then the others take everything in the steps that are left,
    although all of them see the same free targets and only the first one gets each."""
    rng = random.Random(seed)
    costs = {Target("edge", f"n{number}"): rng.choice([0.1, 0.1, 0.2, 1.0, 5.0]) for number in range(60)}
    fleet: Fleet = {name: set() for name in "abcd"}
    settle(costs, fleet, 30)
    fleet.pop("a")
    for _ in range(int((TAKEN_OVER_WITHIN - TIMING.lease) / TIMING.renew_every)):
        loads = {name: sum(costs[target] for target in held) for name, held in fleet.items()}
        free = set(costs) - set().union(*fleet.values())
        for name, held in fleet.items():
            others = [load for other, load in loads.items() if other != name]
            wanted = targets_to_claim(Division(costs, held, free, others), name)
            held |= {target for target in wanted if not any(target in one for one in fleet.values())}
    assert set().union(*fleet.values()) == set(costs)


def test_one_target_that_outweighs_all_others_stays_where_it_is() -> None:
    """What cannot be divided does not wander between replicas."""
    costs = {Target("edge", "large"): 10.0} | {Target("edge", f"n{number}"): 0.1 for number in range(3)}
    fleet: Fleet = {"a": set(costs), "b": set()}
    moved = settle(costs, fleet, 20)
    assert moved[-1] == 0
    assert Target("edge", "large") in fleet["a"]
    assert sum(map(len, fleet.values())) == len(costs)
