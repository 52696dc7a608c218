"""Urgency, label and explanation of each target state, and the summary sentence for all targets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kvsync.status.page.words import plural
from kvsync.status.plan_views import PendingRowKind
from kvsync.status.snapshot import State, StatusSnapshot, TargetView


class Urgency(StrEnum):
    """How urgent something is, the most urgent first. Each has a colour."""

    BAD = "bad"
    """Something does not work."""
    LOOK = "look"
    """A person must decide."""
    NOTE = "note"
    """On its way, or held back on purpose."""
    IDLE = "idle"
    """Not known yet."""
    GOOD = "good"
    """As it should be."""


URGENT: Final = (Urgency.BAD, Urgency.LOOK)

_LEVELS: Final = {
    State.FAILING: Urgency.BAD,
    State.HELD: Urgency.BAD,
    State.PARKED: Urgency.LOOK,
    State.DRIFTED: Urgency.LOOK,
    State.UNDONE: Urgency.LOOK,
    State.PAUSED: Urgency.NOTE,
    State.DENIED: Urgency.NOTE,
    State.PENDING: Urgency.NOTE,
    State.WAITING: Urgency.IDLE,
    State.IN_SYNC: Urgency.GOOD,
}

_RANKS: Final = {level: rank for rank, level in enumerate(Urgency)}

ORDER: Final = tuple(sorted(State, key=lambda state: _RANKS[_LEVELS[state]]))
"""The states, the most urgent first."""

_PLACES: Final = {state: place for place, state in enumerate(ORDER)}

MEANINGS: Final = {
    State.FAILING: "the last pass failed, or some of its changes could not be applied; kvsync keeps retrying",
    State.HELD: "a file that names it has problems: it keeps its last good state until the file is fixed",
    State.PARKED: "the plan exceeds a guard, or the policy requires approval: nothing is applied until you approve it",
    State.DRIFTED: "the store differs from what was applied, and the policy only reports it",
    State.UNDONE: "an operator reverted changes with kvsync undo: they stay undone until their files change",
    State.PAUSED: "an operator paused it",
    State.DENIED: "changes are pending, and a maintenance window blocks applying them",
    State.PENDING: "changes are pending: they were refused, are delayed, or kvsync only observes",
    State.WAITING: "its first pass since the start has not finished",
    State.IN_SYNC: "the store matches the files",
}
"""What each state means, for the key below the list."""


@dataclass(frozen=True, slots=True)
class Headline:
    """All in one sentence, and what adds to it."""

    level: Urgency
    text: str
    more: str = ""


def word(state: State) -> str:
    """The state as it is shown."""
    return state.value.replace("-", " ")


def level_of(view: TargetView) -> Urgency:
    """How urgent the state of a target is. What was refused stays so until a person does something."""
    if view.state is State.PENDING and view.plan is not None and view.plan.counts.get(PendingRowKind.REFUSED.value):
        return Urgency.LOOK
    return _LEVELS[view.state]


def urgency(view: TargetView) -> tuple[int, int]:
    """Sorts targets: those that need a person most come first."""
    return _RANKS[level_of(view)], _PLACES[view.state]


def level_of_state(state: State) -> Urgency:
    """How urgent a state is at least."""
    return _LEVELS[state]


def numbers(snapshot: StatusSnapshot) -> dict[State, int]:
    """How many targets are in each state, the most urgent first, those that do not occur left out."""
    states = snapshot.states()
    return {state: states[state] for state in ORDER if states[state]}


def headline(snapshot: StatusSnapshot) -> Headline:
    """What a person wants to know first."""
    levels = [level_of(view) for view in snapshot.targets]
    urgent = sum(level in URGENT for level in levels)
    if urgent:
        needs = "needs" if urgent == 1 else "need"
        worst = min(levels, key=_RANKS.__getitem__)
        return Headline(worst, f"{urgent:,} of {plural(len(levels), 'target')} {needs} attention", _others(snapshot))
    if snapshot.problems:
        return Headline(Urgency.BAD, f"{plural(len(snapshot.problems), 'problem')} in the files", _others(snapshot))
    return _nothing_urgent(snapshot) if levels else _empty(snapshot)


def _nothing_urgent(snapshot: StatusSnapshot) -> Headline:
    """Headline if no target needs attention."""
    total, states = len(snapshot.targets), snapshot.states()
    waiting, in_sync = states[State.WAITING], states[State.IN_SYNC]
    if waiting:
        return Headline(
            Urgency.IDLE, f"Starting: {plural(waiting, 'target')} of {total:,} not checked yet", _others(snapshot)
        )
    if in_sync == total:
        text = "The target is in sync" if total == 1 else f"All {total:,} targets are in sync"
        return Headline(Urgency.GOOD, text, "The stores match the files.")
    return Headline(Urgency.NOTE, f"{in_sync:,} of {plural(total, 'target')} in sync", _others(snapshot))


def _empty(snapshot: StatusSnapshot) -> Headline:
    if snapshot.process.files_at is None:
        return Headline(Urgency.IDLE, "Starting: reading the files")
    return Headline(Urgency.IDLE, "No targets", "Add a state file to see its target here.")


def _others(snapshot: StatusSnapshot) -> str:
    counts = [f"{number:,} {word(state)}" for state, number in numbers(snapshot).items()]
    return ", ".join(counts) + "." if counts else ""
