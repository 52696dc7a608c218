"""Which place each target leads to, and which targets meet in one place."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

from kvsync.core.model import Target
from kvsync.core.place import LocatedTarget, Overlap, Place, conflicts
from kvsync.errors import StoreError, TransientError
from kvsync.stores.base import Store
from kvsync.together import in_groups

PATIENCE: Final = 10.0
"""Seconds that a pass waits, at most, to learn where the other targets of the same store type lead."""

TRIES_PER_STORE: Final = 8
"""Targets of one store that are located at the same time."""


class PlaceResolver:
    """Locates targets, and remembers for this process where they led last.

    Stores of different types never meet, so a pass only waits for the targets of its own type, once for each, and no longer
    than `PATIENCE`. A target that could not be located then is located by its own passes. Until that succeeds, a second line
    of defence holds: marks and ledgers are bound to places.
    """

    def __init__(self, stores: Mapping[str, Store]) -> None:
        self._stores = stores
        self._places: dict[Target, Place] = {}
        self._managed: frozenset[Target] = frozenset()
        self._untried: defaultdict[str, set[Target]] = defaultdict(set)
        self._lock = asyncio.Lock()
        self._overlaps: dict[Target, Overlap] | None = None

    def manage(self, targets: Iterable[Target]) -> None:
        """The targets there are now: those that no file names any more do not count."""
        managed = frozenset(targets)
        if managed == self._managed:
            return
        for target in managed - self._managed:
            if target.store in self._stores:
                self._untried[self._type_of(target)].add(target)
        for untried in self._untried.values():
            untried &= managed
        self._managed, self._overlaps = managed, None

    async def locate(self, target: Target) -> Place:
        """Where a target leads, as of at most a minute ago. Raises StoreError."""
        place = await self._stores[target.store].locate(target.namespace)
        if self._places.get(target) != place:
            self._places[target] = place
            self._overlaps = None
        return place

    async def overlap_of(self, target: Target) -> Overlap | None:
        """The other target that meets this one in its place, if one does."""
        await self._locate_others(self._type_of(target))
        if self._overlaps is None:
            self._overlaps = self._find()
        return self._overlaps.get(target)

    def _type_of(self, target: Target) -> str:
        return self._stores[target.store].config.type

    async def _locate_others(self, type_: str) -> None:
        if not self._untried[type_]:
            return
        async with self._lock:  # a second pass waits for what the first one finds
            unknown = sorted(self._untried[type_] - self._places.keys())
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await in_groups(
                        unknown, self._try, group=lambda one: one.store, limit=lambda _store: TRIES_PER_STORE
                    )
            self._untried[type_].clear()

    async def _try(self, target: Target) -> None:
        try:
            await self.locate(target)
        except StoreError:
            return  # the target's own pass reports it

    def _find(self) -> dict[Target, Overlap]:
        places = {target: place for target, place in self._places.items() if target in self._managed}
        found: dict[Target, Overlap] = {}
        for overlap in conflicts(places, lambda name: "lies_in" in self._stores[name].own_ways):
            found.setdefault(overlap.first, overlap)
            found.setdefault(overlap.second, overlap)
        return found


async def check_place(store: Store, located: LocatedTarget) -> Place:
    """Where a target leads right before it is written to, made first where it may be. Raises TransientError when that is
    another place than was planned: the next pass plans for the place that is there then. Raises StoreError."""
    target, planned = located
    place = await store.locate(target.namespace, writing=True)
    if planned.is_resolved and place.key != planned.key:
        raise TransientError(
            f"{target} is another place since the plan: was {planned}, is {place}; nothing was written there"
        )
    return place
