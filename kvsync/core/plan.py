"""The plan as data: what would be done to each target, why, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass, field

from kvsync.core.model import Change, Outcome, Refusal, Target
from kvsync.errors import Problem


@dataclass(frozen=True, slots=True)
class Cost:
    """What applying takes: requests to the store, bytes sent, and seconds at the store's declared rate."""

    requests: int = 0
    bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Stats:
    """What making the plan took: requests, bytes received, seconds."""

    requests: int = 0
    bytes_received: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """The plan of one target.

    `changes` would be applied, in the order of `identity_order`; `refused` are differences kvsync will not act on; `reported`
    are drift that the policy only reports, and deletes that wait out the guard's grace. `parked` holds the reasons why nothing
    may be applied before a person approves `digest`. `problems` (files) and `error` (the store could not be observed) mean
    that the target keeps its state: there are no changes then. `next_moment` (epoch seconds) is when the target needs a
    pass although nothing changes: a renewal, an expiry to enforce, the end of a grace.
    """

    target: Target
    type: str
    digest: str
    complete: bool = True
    parked: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    refused: tuple[Refusal, ...] = ()
    reported: tuple[Change, ...] = ()
    unchanged: int = 0
    foreign: int = 0
    ignored: int = 0
    expired: int = 0
    cost: Cost = field(default_factory=Cost)
    problems: tuple[Problem, ...] = ()
    error: str | None = None
    next_moment: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of all targets asked for, sorted by target."""

    owner: str
    targets: tuple[TargetPlan, ...]
    digest: str
    stats: Stats = field(default_factory=Stats)


@dataclass(frozen=True, slots=True)
class TargetReport:
    """What became of one target's plan."""

    plan: TargetPlan
    outcomes: tuple[Outcome, ...] = ()
    error: str | None = None
