"""Which place each target leads to, and which targets meet in one place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from kvsync.core.model import Target
from kvsync.core.place import LocatedTarget, Overlap, Place, conflicts, overlap_text
from kvsync.errors import StoreError, TransientError
from kvsync.stores.base import Store
from kvsync.together import together

PATIENCE: Final = 10.0
"""Seconds that a pass waits, at most, to learn where the other targets of the same store type lead."""


class PlaceChanged(TransientError):
    """A target cannot be written to at the place that was planned; says nothing of the store as a whole."""


class PlaceResolver:
    """Locates targets, and remembers for this process where they led last.

    Stores of different types never meet, so a pass only waits for the targets of its own type, and for those of a store
    that does not answer no longer than `PATIENCE`: then a second line of defence holds, for marks and ledgers are bound to
    places.
    """

    def __init__(self, stores: Mapping[str, Store]) -> None:
        self._stores = stores
        self._places: dict[Target, Place] = {}
        self._managed: frozenset[Target] = frozenset()
        self._overlaps: dict[Target, Overlap] | None = None

    def manage(self, targets: Iterable[Target]) -> None:
        """The targets there are now: those that no file names any more do not count."""
        managed = frozenset(targets)
        if managed != self._managed:
            self._managed, self._overlaps = managed, None

    async def locate(self, target: Target) -> Place:
        """Where a target leads, as of at most a minute ago. Raises StoreError."""
        return self._keep(target, await self._stores[target.store].locate(target.namespace))

    async def confirm(self, located: LocatedTarget) -> Place:
        """Where a target leads right before it is written to, made first where it may be. Raises PlaceChanged when that is
        another place than was planned, or one that another target has as well: two names of a namespace that was not there
        yet are one place as soon as it is made. Raises StoreError."""
        target, planned = located
        place = await self._stores[target.store].locate(target.namespace, writing=True)
        self._keep(target, place)
        if planned.is_resolved and place.key != planned.key:
            raise PlaceChanged(
                f"{target} is another place since the plan: was {planned}, is {place}; nothing was written there"
            )
        overlap = self._overlap(target)
        if overlap is not None:
            raise PlaceChanged(self.text(overlap))
        return place

    def text(self, overlap: Overlap) -> str:
        """What is wrong with two targets that meet, with the lines that configure their stores."""
        return overlap_text(overlap, {target: self._stores[target.store].config.origin for target in overlap[:2]})

    async def overlap_of(self, target: Target) -> Overlap | None:
        """The other target that meets this one in its place, if one does."""
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

    async def _locate_others(self, type_: str) -> None:
        unknown = [one for one in self._managed - self._places.keys() if self._stores[one.store].config.type == type_]
        if not unknown:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                await together(self._try(target) for target in unknown)
        except TimeoutError:
            return

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
