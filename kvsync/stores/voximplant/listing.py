"""Lists entries by offset, while entries are added and removed.

    1st page   a b c d e
    2nd page           e f g h i      begins with the entry that the page before ended with
    3rd page                   i j k  not full: the last

Nothing tells how many there are, and what ends or is deleted moves all that follow: an offset would then skip some of them. So
every page begins with an entry that is known. Where it does not, pages have moved up: the listing goes back until they meet
again. Where more is known than that one entry, something was put before it, perhaps from behind: it is listed all over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from kvsync.errors import TransientError

Item = dict[str, Any]
Ask = Callable[[int], Awaitable[Sequence[Item]]]
"""Gives the page that begins at an offset. Raises StoreError."""

_ROUNDS: Final = 4
"""How often entries are listed all over before it is left at that."""

_STEPS_BACK: Final = 100
"""How often one listing goes back."""


class Listed(NamedTuple):
    """What was listed, by key, and what kept it from being whole."""

    items: dict[str, Item]
    problem: str | None = None


async def everything(ask: Ask, size: int) -> Listed:
    """All entries, in pages of `size`. Raises StoreError where not even one page can be had."""
    items: dict[str, Item] = {}
    for _ in range(_ROUNDS):
        walk = ListingWalk(ask, size)
        try:
            is_whole = await walk.to_the_end()
        except TransientError as error:
            items |= walk.items
            if not items:
                raise
            return Listed(items, f"it ended early, after {len(items):,} entries ({error})")
        if is_whole:
            return Listed(walk.items)
        items |= walk.items
    return Listed(items, f"entries kept changing while {len(items):,} of them were listed")


class ListingWalk:
    """One way through the pages."""

    def __init__(self, ask: Ask, size: int) -> None:
        self._ask, self._size = ask, size
        self._steps_left = _STEPS_BACK
        self.items: dict[str, Item] = {}

    async def to_the_end(self) -> bool:
        """Walk; False when something moved that this way may have missed. Raises StoreError."""
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
        """With how many known entries a page begins; None where known and new ones are mixed."""
        keys = [item["key"] for item in page]
        known = sum(key in self.items for key in keys)
        are_first = all(key in self.items for key in keys[:known])
        return known if are_first and len(set(keys)) == len(keys) else None
