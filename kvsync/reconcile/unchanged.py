"""Plans of targets in which nothing changed since their last clean pass, for thousands of targets at once.

A pass of its own costs each target a task, a time limit, several objects and several calls to its store. Here, the targets of a
store cost one call, and everything else is a look at what the state directory has read for all targets (`StateDir.bulk`). The
result is the same as that of a pass. A target is left to a pass if there is any doubt.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from kvsync.errors import StateDirError
from kvsync.model.capabilities import Marks
from kvsync.model.desired import Desired
from kvsync.model.entry import Target
from kvsync.model.pass_options import PassOptions
from kvsync.model.place import LocatedTarget, Place
from kvsync.model.plan import TargetPlan
from kvsync.reconcile.clean_pass import config_digest, current_clean_pass
from kvsync.reconcile.context import PassContext
from kvsync.reconcile.reports import unchanged_plan
from kvsync.state import CleanPass
from kvsync.stores.base import Store
from kvsync.stores.extensions import as_ledger_keeping, unchanged
from kvsync.util.background import off_loop
from kvsync.util.concurrency import gather_or_cancel


class _Candidate(NamedTuple):
    """A target that may be unchanged: the key of the place that it led to last, and what its last clean pass saw there."""

    target: Target
    key: str
    token: str
    clean: CleanPass


class UnchangedTargets:
    """Finds the targets in which nothing changed, and plans them. Use it inside `StateDir.bulk`."""

    def __init__(self, stores: Mapping[str, Store], context: PassContext) -> None:
        self._stores, self._context, self._state = stores, context, context.state

    async def find(self, targets: Iterable[Desired], ask: PassOptions) -> list[TargetPlan]:
        """Return the plans of those targets that are known to be unchanged. Call `keep` with each that is used. Whatever fails
        in a store is left to the passes of its targets, which contain and report it. Raises StateDirError."""
        is_claimed = self._context.writing and self._state.claims is not None  # each pass binds its claim to its task
        if is_claimed or ask != PassOptions(deletes_namespaces=ask.deletes_namespaces, grace=ask.grace):
            return []
        by_store: defaultdict[str, list[Desired]] = defaultdict(list)
        for desired in targets:
            if desired.entries and not (desired.moved or desired.problems):
                by_store[desired.target.store].append(desired)
        found = await gather_or_cancel(self._of_store(self._stores[name], group) for name, group in by_store.items())
        return [plan for plans in found for plan in plans]

    def keep(self, plan: TargetPlan) -> None:
        """Record where the target leads, and that none of its entries is about to be deleted. Raises StateDirError."""
        assert plan.place is not None, "only the plan of a located target is used"
        context, now = self._context, self._context.clock.now()
        if context.writing:
            self._state.places.enter(LocatedTarget(plan.target, plan.place), now)
        if context.writable:
            with context.remembering():
                self._state.removals.update(plan.place.key, (), now)

    async def _of_store(self, store: Store, targets: Sequence[Desired]) -> list[TargetPlan]:
        if store.capabilities.marks is not Marks.STORE or as_ledger_keeping(store) is not None:
            return []  # what only a ledger knows is ours is looked at in each pass
        try:
            return await self._checked(store, targets)
        except StateDirError:
            raise
        except Exception:  # noqa: BLE001 - the pass of each target meets it again, and contains it
            return []

    async def _checked(self, store: Store, targets: Sequence[Desired]) -> list[TargetPlan]:
        candidates = await off_loop(partial(self._candidates, store, targets), len(targets))
        tokens = {one.target.namespace: one.token for one in candidates}
        async with asyncio.timeout(self._context.limits.pass_time):
            places = await unchanged(store, tokens)
        plans = await off_loop(partial(self._planned, store, candidates, places), len(places))
        for plan in plans:
            self._context.places.learn(plan.target, places[plan.target.namespace])
        return plans

    def _candidates(self, store: Store, targets: Sequence[Desired]) -> list[_Candidate]:
        state, now = self._state, self._context.clock.now()
        owner_keys = self._context.owner_keys()
        state.use_owner_keys(owner_keys)
        config = config_digest(self._context.owner, owner_keys, store.config)
        candidates = []
        for desired in targets:
            known = state.places.known(desired.target)
            clean = None if known is None else current_clean_pass(state, known.place, (desired.digest, config), now)
            if known is not None and clean is not None and clean.token is not None:
                candidates.append(_Candidate(desired.target, known.place, clean.token, clean))
        return candidates

    def _planned(self, store: Store, candidates: Sequence[_Candidate], places: Mapping[str, Place]) -> list[TargetPlan]:
        digest_key, type_, plans = self._state.digest_key, store.capabilities.type, []
        for one in candidates:
            place = places.get(one.target.namespace)
            if place is not None and place.is_resolved and place.key == one.key:
                plans.append(unchanged_plan(digest_key, LocatedTarget(one.target, place), type_, one.clean))
        return plans
