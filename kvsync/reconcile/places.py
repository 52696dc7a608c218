"""Resolves targets to places, and detects targets that share a place."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

from kvsync.errors import PlaceChanged, StoreError
from kvsync.model.entry import Target
from kvsync.model.place import LocatedTarget, Overlap, Place, conflicts, overlap_text
from kvsync.stores.base import Store
from kvsync.stores.extensions import NestedNamespaces, locate
from kvsync.util.concurrency import gather_by_group

PATIENCE: Final = 10.0
"""Seconds that a pass waits, at most, for the places of the other targets of the same store type."""

TRIES_PER_STORE: Final = 8
"""Targets of one store that are located at the same time."""


class PlaceResolver:
    """Locates targets, and keeps for this process where they led last.

    Stores of different types never share a place, so a pass waits for the targets of its own type only, once for each, and at
    most `PATIENCE`. A target that could not be located by then is located by its own passes. Until that succeeds, a second
    check protects it: marks and ledgers are bound to places.
    """

    def __init__(self, stores: Mapping[str, Store]) -> None:
        self._stores = stores
        self._places: dict[Target, Place] = {}
        self._managed: frozenset[Target] = frozenset()
        self._untried: defaultdict[str, set[Target]] = defaultdict(set)
        self._lock = asyncio.Lock()
        self._overlaps: dict[Target, Overlap] | None = None

    def manage(self, targets: Iterable[Target]) -> None:
        """Set the targets that exist now; those that no file names any more do not count."""
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
        return self._keep(target, await locate(self._stores[target.store], target.namespace))

    def learn(self, target: Target, place: Place) -> None:
        """Know where a target leads, as its store has just reported."""
        self._keep(target, place)

    async def confirm(self, located: LocatedTarget) -> Place:
        """Locate a target right before writes, and create its namespace if that is missing and allowed. Raises PlaceChanged if
        it leads to another place than was planned, or to one that another target has too: two names of a missing namespace
        become one place when it is created. Raises StoreError."""
        target, planned = located
        place = await locate(self._stores[target.store], target.namespace, writing=True)
        self._keep(target, place)
        if planned.is_resolved and place.key != planned.key:
            raise PlaceChanged(
                f"{target} changed its place after the plan was made: it was {planned}, it is {place}; nothing was written;"
                " run plan again"
            )
        overlap = self._overlap(target)
        if overlap is not None:
            raise PlaceChanged(self.text(overlap))
        return place

    def text(self, overlap: Overlap) -> str:
        """The message about two targets that share a place, with the lines that configure their stores."""
        return overlap_text(overlap, {target: self._stores[target.store].config.origin for target in overlap[:2]})

    async def overlap_of(self, target: Target) -> Overlap | None:
        """The other target that shares its place with this one, None without one."""
        await self._locate_others(self._stores[target.store].config.type)
        return self._overlap(target)

    def _keep(self, target: Target, place: Place) -> Place:
        if self._places.get(target) != place:
            self._places[target] = place
            self._overlaps = None
        return place

    def _overlap(self, target: Target) -> Overlap | None:
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
                    await gather_by_group(
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
        for overlap in conflicts(places, lambda name: isinstance(self._stores[name], NestedNamespaces)):
            found.setdefault(overlap.first, overlap)
            found.setdefault(overlap.second, overlap)
        return found
