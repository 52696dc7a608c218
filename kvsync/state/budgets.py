"""Budgets of requests that replicas share, on the database's clock."""

from __future__ import annotations

from typing import Final

from kvsync.model.budget import Allocation, BudgetTerms, allocate
from kvsync.state.claims import unbound
from kvsync.state.context import Context

_IDLE_DAYS: Final = 7
"""After this time without an allocation, a bucket has long been full, which is how a new one starts."""

_OPEN: Final = "INSERT INTO budgets (name, tokens, at) VALUES (?, ?, clock_timestamp()) ON CONFLICT (name) DO NOTHING"
_HELD: Final = """
SELECT tokens, extract(epoch FROM clock_timestamp() - at)::double precision FROM budgets WHERE name = ? FOR UPDATE
"""
_TAKE: Final = "UPDATE budgets SET tokens = ?, at = clock_timestamp() WHERE name = ?"

_PRUNE: Final = f"DELETE FROM budgets WHERE at < clock_timestamp() - interval '{_IDLE_DAYS} days'"  # noqa: S608 - constants


class Budgets:
    """Token buckets by name, in the database that replicas share. A state directory has none, because only one process uses
    it."""

    def __init__(self, context: Context) -> None:
        self._database = context.database

    def allocate(self, name: str, terms: BudgetTerms, unused: int) -> Allocation:
        """Take a portion, and give back what is left of the last one. Raises StateDirError."""
        with unbound(), self._database.transaction() as statements:
            if statements.execute(_OPEN, (name, terms.capacity)).rowcount:
                statements.execute(_PRUNE)
            tokens, elapsed = statements.execute(_HELD, (name,)).fetchone()
            allocation = allocate(tokens, elapsed, unused, terms)
            statements.execute(_TAKE, (allocation.left, name))
        return allocation
