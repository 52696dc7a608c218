"""The ledger that a store keeps of a target, over one pass: announced before writes, and written or given up after them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from kvsync.errors import StoreError
from kvsync.ledger.found import LedgerNotOurs
from kvsync.ledger.target_ledger import TargetLedger
from kvsync.model.change import Change
from kvsync.model.entry import Identity
from kvsync.model.plan import TargetPlan
from kvsync.planning.ledger_only import is_ledger_only
from kvsync.stores.base import Store
from kvsync.stores.extensions import as_ledger_keeping
from kvsync.stores.pacing import ConcurrencyLimiter


class StoreLedger:
    """Does nothing for a store that keeps no ledger, except to give up the local one: with `gives_up`, kvsync forgets what it
    knows of this place."""

    def __init__(self, store: Store, ledger: TargetLedger, *, gives_up: bool) -> None:
        self._store, self._ledger, self.gives_up = store, ledger, gives_up

    def planned(self, plan: TargetPlan, now: float) -> TargetPlan:
        """The plan with the cost of the ledger, what becomes of it, and the moment at which it must be renewed."""
        if as_ledger_keeping(self._store) is None:
            return plan
        plan = replace(plan, notes=(*plan.notes, *self._ledger.notes))
        is_due = bool(plan.changes) or self.is_due(now)
        moments = (plan.next_moment, self._ledger.next_moment(now, is_due=is_due))
        plan = replace(plan, next_moment=min((one for one in moments if one is not None), default=None))
        if not is_due:
            return plan
        written = [change.identity for change in plan.changes if self._is_announced(change)]
        return replace(plan, cost=plan.cost.plus(self._ledger.cost(written)))

    def is_due(self, now: float) -> bool:
        """True if the store's ledger is out of date or expires soon."""
        return self._ledger.is_due(now)

    async def announce(self, plan: TargetPlan, pace: ConcurrencyLimiter, stop: Callable[[], bool]) -> None:
        """Take the store's ledger over where that is planned, and write to it what entries are about to hold. If only the
        latter fails, entries are written all the same: the state directory knows them, and the ledger is written again
        afterwards. Raises LedgerNotOurs, StateDirError, and StoreError if the ledger cannot be taken over."""
        if as_ledger_keeping(self._store) is None:
            return
        written = [change.after for change in plan.changes if change.after is not None and self._is_announced(change)]
        await self._ledger.take_over(pace, self._store.context.clock, stop)
        try:
            await self._ledger.announce(written, pace, self._store.context.clock, stop)
        except LedgerNotOurs:
            raise
        except StoreError:
            return

    async def finish(
        self, kept: Collection[Identity] | None, pace: ConcurrencyLimiter, stop: Callable[[], bool]
    ) -> str | None:
        """Write the ledger if it is out of date (None), or give up all but `kept`; returns why that failed. Raises
        StateDirError."""
        clock = self._store.context.clock
        if kept is None:
            return await self._ledger.write_if_due(pace, clock, stop)
        return await self._ledger.give_up(kept, pace, clock, stop)

    def _is_announced(self, change: Change) -> bool:
        """True if a change writes content of which only the ledger can say that it is ours."""
        before, after = change.before, change.after
        if after is None or is_ledger_only(change, self._store.capabilities):
            return False
        return before is None or before.mark is None or before.fingerprint != after.fingerprint
