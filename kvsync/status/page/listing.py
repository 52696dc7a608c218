"""Targets that match a request, most urgent first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from kvsync.status.page.headline import ORDER, Urgency, level_of_state, urgency
from kvsync.status.page.query import Query
from kvsync.status.plan_views import PendingPlan
from kvsync.status.snapshot import State, StatusSnapshot, TargetView

MOST: Final = 50
"""Targets on a page."""

MOST_ROWS: Final = 200
MOST_ROWS_EACH: Final = 10
"""Rows of pending plans on a page, and of one target; the target's own page has more."""


@dataclass(frozen=True, slots=True)
class Chip:
    """How many targets are in a state, and the address that asks for them, or no longer does."""

    state: State
    level: Urgency
    number: int
    chosen: bool
    address: str


@dataclass(frozen=True, slots=True)
class StoreChip:
    """How many targets a store has, and the address that asks for it alone, or no longer does."""

    store: str
    number: int
    chosen: bool
    address: str


@dataclass(frozen=True, slots=True)
class TargetList:
    """A page of targets. `first` is the number of its first target (from 1), `found` how many there are on all pages."""

    targets: tuple[TargetView, ...]
    first: int
    found: int
    page: int
    pages: int


def listing(snapshot: StatusSnapshot, query: Query) -> TargetList:
    """The targets of one page; beyond the last page there is the last."""
    found = sorted(
        (view for view in snapshot.targets if _is_asked(view, query)), key=lambda view: (urgency(view), view.target)
    )
    pages = max(1, -(-len(found) // MOST))
    page = min(query.page, pages)
    start = (page - 1) * MOST
    return TargetList(tuple(_cut(found[start : start + MOST])), start + 1, len(found), page, pages)


def chips(snapshot: StatusSnapshot, query: Query) -> tuple[Chip, ...]:
    """The states that occur, or are asked for, the most urgent first."""
    states = snapshot.states()
    return tuple(
        Chip(state, level_of_state(state), states[state], state in query.states, query.toggled(state).address)
        for state in ORDER
        if states[state] or state in query.states
    )


def store_chips(snapshot: StatusSnapshot, query: Query) -> tuple[StoreChip, ...]:
    """The stores with how many targets they have, and the address that asks for one alone, or no longer does."""
    seen = Counter(view.target.store for view in snapshot.targets)
    return tuple(
        StoreChip(store, number, store == query.store, query.toggled_store(store).address)
        for store, number in sorted(seen.items())
    )


def _is_asked(view: TargetView, query: Query) -> bool:
    if query.store and view.target.store != query.store:
        return False
    if query.states and view.state not in query.states:
        return False
    if not query.text:
        return True
    rows = view.plan.rows if view.plan is not None else ()
    parts = (str(view.target), view.type, view.error or "", *(row.name for row in rows))
    text = "\n".join(parts).casefold()
    return all(part in text for part in query.text.casefold().split())


def _cut(views: Iterable[TargetView]) -> Iterator[TargetView]:
    """The views with no more rows than a page of many targets bears."""
    left = MOST_ROWS
    for view in views:
        if view.plan is None:
            yield view
        else:
            granted = min(len(view.plan.rows), left, MOST_ROWS_EACH)
            left -= granted
            yield replace(view, plan=_with(view.plan, granted))


def _with(plan: PendingPlan, rows: int) -> PendingPlan:
    return replace(plan, rows=plan.rows[:rows], hidden=plan.hidden + len(plan.rows) - rows)
