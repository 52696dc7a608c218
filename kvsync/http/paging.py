"""Listings that a server returns in pages: iteration, and limits on it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from kvsync.errors import TransientError
from kvsync.model.answer_limits import AnswerLimits
from kvsync.util.clock import Clock

MOST_EMPTY_PAGES: Final = 100
"""Empty pages in a row. Services return some where entries have expired or been deleted."""

MOST_NAMESPACE_PAGES: Final = 100
"""Pages of a list of namespaces: 100,000 namespaces and more."""

_Items = TypeVar("_Items")
_Position = TypeVar("_Position")


class ListingLimit:
    """Ends a listing that is longer, larger or slower than `limits` allow, or whose pages are empty.

    `what` names the listing in errors. `most_pages` is a smaller bound on the pages, for lists of namespaces.
    """

    def __init__(self, what: str, limits: AnswerLimits, clock: Clock, most_pages: int | None = None) -> None:
        self.what = what
        self._limits, self._clock, self._most_pages = limits, clock, most_pages
        self._began = clock.monotonic()
        self._pages = self._entries = self._bytes = self._empty = 0

    def count(self, entries: int, size: int, *, is_last: bool = False, is_known: bool = False) -> None:
        """Count a page of `entries` entries and `size` bytes. `is_known` marks an unchanged page, whose entries are not
        counted. Raises TransientError if a limit is exceeded."""
        self._pages += 1
        self._entries += entries
        self._empty = 0 if entries or is_last or is_known else self._empty + 1
        if self._empty >= MOST_EMPTY_PAGES:
            raise TransientError(f"{self.what} failed: the server returned {self._empty} empty pages in a row")
        if self._most_pages is not None and self._pages + (not is_last) > self._most_pages:
            raise TransientError(f"{self.what} failed: more than {self._most_pages} pages; check the endpoint")
        self._bytes += size
        self._check(self._pages + (not is_last))

    def receive(self, size: int) -> None:
        """Count bytes of the listing that are not a page. Raises TransientError if a limit is exceeded."""
        self._bytes += size
        self._check(self._pages)

    def _check(self, pages: int) -> None:
        limits, seconds = self._limits, self._clock.monotonic() - self._began
        for name, found, most in (
            ("listing_pages", pages, limits.listing_pages),
            ("listing_entries", self._entries, limits.listing_entries),
            ("listing_bytes", self._bytes, limits.listing_bytes),
            ("listing_time", seconds, limits.listing_time),
        ):
            if found > most:
                raise TransientError(self._exceeded(name, most))

    def _exceeded(self, name: str, most: float) -> str:
        reached = f"after {self._pages:,} pages with {self._entries:,} entries and {self._bytes:,} bytes"
        return f"{self.what} was ended {reached}: limits.{name} is {most:,}; raise it in kvsync.yaml, or check the endpoint"


@dataclass(frozen=True, slots=True)
class ListingPage(Generic[_Items, _Position]):
    """One page: its content, how many entries it has, its size in bytes, and where the next page begins (None: it is the last).
    `is_known` marks a page that did not change. `begins_with` is its first entry, which no other page of a listing contains;
    None if the page is empty or the store checks this itself."""

    content: _Items
    entries: int
    size: int
    next: _Position | None = None
    is_known: bool = False
    begins_with: Hashable | None = None


async def walk(
    first: _Position,
    fetch: Callable[[_Position], Awaitable[ListingPage[_Items, _Position]]],
    limit: ListingLimit,
) -> AsyncGenerator[ListingPage[_Items, _Position], None]:
    """Yield all pages of a listing, beginning with the one at `first`.

    Raises StoreError from `fetch`, and TransientError if `limit` is exceeded, a page points back to an earlier one, or a page
    comes again under another position.
    """
    position, seen, begun = first, {first}, set[Hashable]()
    while True:
        page = await fetch(position)
        limit.count(page.entries, page.size, is_last=page.next is None, is_known=page.is_known)
        if page.begins_with in begun:
            raise TransientError(f"{limit.what} failed: the pages repeat; check the endpoint")
        if page.begins_with is not None:
            begun.add(page.begins_with)
        yield page
        if page.next is None:
            return
        position = page.next
        if position in seen:
            raise TransientError(f"{limit.what} failed: the pages form a loop")
        seen.add(position)
