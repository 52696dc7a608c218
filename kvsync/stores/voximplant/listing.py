"""Lists entries by offset, while entries are added and removed.

    1st page   a b c d e
    2nd page           e f g h i      begins with the last entry of the page before
    3rd page                   i j k  not full: the last

The service does not say how many entries there are, and an entry that expires or is deleted moves all that follow: an offset
would then skip some. So every page must begin with a known entry. If it does not, entries have moved up: the listing goes back
until the pages overlap again. If more than that one entry is known, one was added before it, perhaps from behind: everything
is listed again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from kvsync.errors import TransientError
from kvsync.stores.partial import ended_early

Item = dict[str, Any]
Ask = Callable[[int], Awaitable[Sequence[Item]]]
"""Reads the page at an offset. Raises StoreError."""

_ROUNDS: Final = 4
"""How often entries are listed from the beginning before the listing is given up as incomplete."""

_STEPS_BACK: Final = 100
"""How often one listing goes back."""


class Listed(NamedTuple):
    """The listed entries by key, and why some may be missing."""

    items: dict[str, Item]
    problem: str | None = None


async def everything(ask: Ask, size: int) -> Listed:
    """List all entries, in pages of `size`. Raises StoreError if not even one page can be read."""
    items: dict[str, Item] = {}
    for _ in range(_ROUNDS):
        walk = ListingWalk(ask, size)
        try:
            is_whole = await walk.to_the_end()
        except TransientError as error:
            items |= walk.items
            if not items:
                raise
            return Listed(items, ended_early(len(items), error))
        if is_whole:
            return Listed(walk.items)
        items |= walk.items
    return Listed(items, f"entries kept changing while {len(items):,} of them were listed")


class ListingWalk:
    """One walk through the pages."""

    def __init__(self, ask: Ask, size: int) -> None:
        self._ask, self._size = ask, size
        self._steps_left = _STEPS_BACK
        self.items: dict[str, Item] = {}

    async def to_the_end(self) -> bool:
        """Walk to the last page; False if entries moved so that some may be missing. Raises StoreError."""
        offset, has_stepped_back = 0, True
        while True:
            page = await self._ask(offset)
            known = self._known_first(page)
            if offset and known == 0 and self._steps_left:
                self._steps_left -= 1
                offset, has_stepped_back = max(0, offset - self._size + 1), True
                continue
            if known is None or (self.items and known != 1 and not (known and has_stepped_back)):
                return False
            self.items |= {item["key"]: item for item in page}
            if len(page) < self._size:
                return True
            offset, has_stepped_back = offset + self._size - 1, False

    def _known_first(self, page: Sequence[Item]) -> int | None:
        """How many known entries the page begins with; None if known and new ones are mixed."""
        keys = [item["key"] for item in page]
        known = sum(key in self.items for key in keys)
        are_first = all(key in self.items for key in keys[:known])
        return known if are_first and len(set(keys)) == len(keys) else None
