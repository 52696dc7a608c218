"""Budgets of requests that replicas share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.app.budgets import StateBudgetAllocator
from kvsync.http.shared_budget import SharedBudget
from kvsync.model.budget import BudgetTerms, allocate
from kvsync.state import StateDir
from kvsync.state.postgres_address import PostgresAddress
from kvsync.state.postgres_database import upgrade
from kvsync.util.clock import Clock
from tests.support.postgres import Cluster

SLOW = BudgetTerms(rate=1e-6, capacity=24, portion=8, validity=3600)
"""Fills so slowly that nothing comes back in a test."""


@pytest.fixture
def states(cluster: Cluster, tmp_path: Path) -> Iterator[list[StateDir]]:
    """The state as two replicas have it open."""
    address = PostgresAddress.of(cluster.new_database("budgets"))
    upgrade(address, create=True)
    with ExitStack() as stack:
        opened = (StateDir.open_postgres(tmp_path / name, address, writable=True) for name in "ab")
        yield [stack.enter_context(one) for one in opened]


def taken(states: list[StateDir], terms: BudgetTerms, callers: int, least: int) -> int:
    """How many of so many callers of each replica get a turn, a while after so many have had theirs."""

    async def count() -> int:
        budgets = [SharedBudget(StateBudgetAllocator(state.budgets), "account", terms, Clock()) for state in states]
        waiting = [asyncio.create_task(budget.take()) for budget in budgets for _ in range(callers)]
        async with asyncio.timeout(60):
            for turn in islice(asyncio.as_completed(waiting), least):
                await turn
        await asyncio.sleep(0.5)
        done = sum(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return done

    return asyncio.run(count())


def test_replicas_together_stay_under_a_limit(states: list[StateDir]) -> None:
    """However the callers are spread, there are as many turns as the bucket holds; and what one process used is used when it is
    started again."""
    assert taken(states, SLOW, 24, 24) == 24  # one replica may take all of it
    assert taken(states, SLOW, 5, 0) == 0


def test_what_was_not_used_comes_back(states: list[StateDir]) -> None:
    """A portion that is given back is there for the others, and one that a dead replica has is made up for by time."""
    one, two = states
    assert one.budgets.allocate("account", SLOW, 0).granted == 8
    assert two.budgets.allocate("account", SLOW, 0).granted == 8
    assert two.budgets.allocate("account", SLOW, 8).granted == 8
    assert two.budgets.allocate("account", SLOW, 0).granted == 8
    assert two.budgets.allocate("account", SLOW, 0).wait > 0
    with two.database.transaction() as statements:
        statements.execute("UPDATE budgets SET at = at - interval '1 s' * ?", (8 / SLOW.rate,))
    assert two.budgets.allocate("account", SLOW, 0).granted == 8


def test_budgets_that_nobody_uses_are_forgotten(states: list[StateDir]) -> None:
    """The account of a store that is gone does not keep its row; one that is in use does."""
    state = states[0]
    state.budgets.allocate("gone", SLOW, 0)
    state.budgets.allocate("used", SLOW, 0)
    with state.database.transaction() as statements:
        statements.execute("UPDATE budgets SET at = at - interval '8 days' WHERE name = 'gone'")
    state.budgets.allocate("new", SLOW, 0)
    assert state.database.query("SELECT name, tokens FROM budgets ORDER BY name") == [("new", 16.0), ("used", 16.0)]


@given(st.lists(st.floats(0, 400), min_size=1, max_size=60), st.integers(2, 2000), st.floats(1, 600))
def test_no_window_has_more_than_its_quota(pauses: list[float], most: int, seconds: float) -> None:
    """Whenever portions are allocated, and however late in its validity each is used, any window stays under the quota."""
    terms = BudgetTerms.of_window(most, seconds)
    now, tokens, grants = 0.0, terms.capacity, []
    for pause in pauses:
        now += pause
        allocation = allocate(tokens, pause, 0, terms)
        tokens = allocation.left
        grants.append((now, allocation.granted))
    for begin, _ in grants:
        ends = begin + terms.validity + seconds
        assert sum(granted for at, granted in grants if begin <= at <= ends) <= most
