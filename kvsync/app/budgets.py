"""Allocates requests in portions from the rate limits that replicas share."""

from __future__ import annotations

from kvsync.errors import KvsyncError
from kvsync.model.budget import Allocation, BudgetTerms
from kvsync.state.budgets import Budgets
from kvsync.util.background import in_background


class StateBudgetAllocator:
    """Allocates from the budgets of a shared state."""

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets

    async def allocate(self, name: str, terms: BudgetTerms, unused: int) -> Allocation:
        """Take a portion. While the state does not answer nothing is written to stores, and reads keep to the limits of this
        process alone."""
        try:
            return await in_background(lambda: self._budgets.allocate(name, terms, unused))
        except KvsyncError:
            return Allocation(terms.portion, 0.0, 0.0)
