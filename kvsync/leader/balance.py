"""Division of the targets of a fleet among its replicas, from the claims. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from kvsync.model.entry import Target
from kvsync.util.values import dataclass

TOLERANCE: Final = 0.1
"""The part of a fair share by which the load of a replica may differ from it before targets move."""

AT_ONCE: Final = 0.25
"""The part of its load that a replica gives up in one step at most: a new replica takes over gradually."""


@dataclass(frozen=True, slots=True)
class Division:
    """What one replica knows: the targets that it holds and those that nobody holds, with the cost of each, the loads of the
    other replicas that take work, and the cost of the targets that are with a replica that gives them up."""

    costs: Mapping[Target, float]
    mine: Collection[Target]
    free: Collection[Target]
    other_loads: Sequence[float]
    given_up: float = 0.0

    @property
    def fair(self) -> float:
        """The load of each replica if all had the same."""
        free = sum(self.costs.get(target, 0.0) for target in self.free)
        return (self.load + free + sum(self.other_loads) + self.given_up) / (len(self.other_loads) + 1)

    @property
    def load(self) -> float:
        """The load of this replica."""
        return sum(self.costs.get(target, 0.0) for target in self.mine)


def targets_to_claim(division: Division, replica: str) -> list[Target]:
    """The free targets that this replica takes, up to a fair share. Replicas go through them in different orders, so that they
    rarely want the same one."""
    taken, load, fair = [], division.load, division.fair
    for target in sorted(division.free, key=lambda one: _order(one, replica)):
        if load >= fair:
            break
        taken.append(target)
        load += division.costs.get(target, 0.0)
    return taken


def targets_to_release(division: Division) -> list[Target]:
    """The targets that this replica gives up, because another one has clearly less to do."""
    load, fair = division.load, division.fair
    is_needed = any(one < fair * (1 - TOLERANCE) for one in division.other_loads)
    if not is_needed or load <= fair * (1 + TOLERANCE):
        return []
    budget = min(load - fair, max(load * AT_ONCE, min(_costs(division), default=0.0)))
    shed: list[Target] = []
    for target in sorted(division.mine, key=lambda one: (division.costs.get(one, 0.0), one)):
        cost = division.costs.get(target, 0.0)
        if cost > budget:
            break
        shed.append(target)
        budget -= cost
    return shed


def _costs(division: Division) -> list[float]:
    return [division.costs.get(target, 0.0) for target in division.mine]


def _order(target: Target, replica: str) -> bytes:
    return blake2b(f"{target}\0{replica}".encode(), digest_size=8).digest()
