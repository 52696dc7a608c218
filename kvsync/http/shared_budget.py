"""Limiter whose turns are allocated in portions from a budget that replicas share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from kvsync.model.budget import Allocation, BudgetTerms
from kvsync.util.clock import Clock
from kvsync.util.waits import WAITS


class BudgetAllocator(Protocol):
    """Allocates portions of budgets to this process."""

    async def allocate(self, name: str, terms: BudgetTerms, unused: int) -> Allocation:
        """Take a portion, and give back what is left of the last one. Raises nothing."""
        ...


class Limit(Protocol):
    """A limit of this process whose terms replicas can share."""

    terms: BudgetTerms


class SharedBudget:
    """The part of one budget that this process may use now. Callers wait in the order in which they came."""

    def __init__(self, allocator: BudgetAllocator, name: str, terms: BudgetTerms, clock: Clock) -> None:
        self._allocator, self._name, self._terms, self._clock = allocator, name, terms, clock
        self._left, self._until = 0, 0.0
        self._lock = asyncio.Lock()

    async def take(self) -> None:
        """Wait for a turn."""
        async with self._lock:
            while not self._left or self._clock.monotonic() >= self._until:
                await self._allocate()
            self._left -= 1

    async def _allocate(self) -> None:
        unused, self._left = self._left, 0
        allocation = await self._allocator.allocate(self._name, self._terms, unused)
        now = self._clock.monotonic()
        self._left, self._until = allocation.granted, now + self._terms.validity  # however long a slow allocator took
        if not allocation.granted:
            with WAITS.shown("the rate limit, which replicas share", now + allocation.wait, self._clock):
                await self._clock.sleep(allocation.wait)


def shared_budgets(
    allocator: BudgetAllocator | None, account: str, limits: Mapping[str, Limit | None], clock: Clock
) -> tuple[SharedBudget, ...]:
    """The budgets of an account from which requests under these limits, by what the server counts, are taken; none where no
    replicas share them."""
    if allocator is None:
        return ()
    return tuple(
        SharedBudget(allocator, f"{account} {kind}", limit.terms, clock)
        for kind, limit in limits.items()
        if limit is not None
    )
