"""Lists keys and sizes, a thousand per page, from a start key.

A listing is whole when its last page says that nothing follows, in both ways in which the API says it. Pages that repeat, that
lead back, or that say nothing of what follows may have left something out, and must never go on forever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from kvsync.errors import TransientError
from kvsync.http.paging import ListingLimit

_ABSENT: Final = object()


class Page(NamedTuple):
    """One page: keys with their sizes in bytes, and what follows: a key, None for the end, or why that is not known. `size`
    is in bytes, as it came."""

    sizes: dict[str, int]
    brought: int
    next: str | None = None
    problem: str | None = None
    size: int = 0


class Listing(NamedTuple):
    """Keys and sizes, and what kept it from being whole."""

    sizes: dict[str, int]
    problem: str | None = None


Ask = Callable[[str | None], Awaitable[Page]]
"""Asks for the page after a key. Raises StoreError."""


async def listing(ask: Ask, limit: ListingLimit) -> Listing:
    """All pages, as far as `limit` goes. Raises StoreError when not even the first can be had."""
    sizes: dict[str, int] = {}
    start: str | None = None
    while True:
        try:
            page = await ask(start)
            limit.count(page.brought, page.size, is_last=page.next is None)
        except TransientError as error:
            if start is None:
                raise
            return Listing(sizes, f"it ended early, after {len(sizes):,} keys ({error})")
        known = len(sizes)
        sizes |= page.sizes
        problem = page.problem or _out_of_order(page, len(sizes) - known, start)
        if problem is not None or page.next is None:
            return Listing(sizes, problem)
        start = page.next


def page_of(document: Any) -> Page:
    """Read a page. Raises ValueError for what is none."""
    data = document.get("data") if isinstance(document, dict) else None
    items = data.get("items") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(items, list):
        raise ValueError("not a list of keys")
    try:
        sizes = {str(item["key"]): int(item["size"]) for item in items}
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError("not a list of keys and sizes") from None
    following, is_truncated = data.get("nextExclusiveStartKey", _ABSENT), data.get("isTruncated")
    if isinstance(following, str) and is_truncated is not False:
        return Page(sizes, len(items), following)
    if following is None and is_truncated is False:
        return Page(sizes, len(items))
    return Page(sizes, len(items), problem="a page does not say whether another one follows")


def _out_of_order(page: Page, fresh: int, start: str | None) -> str | None:
    """Why what this page brought, `fresh` of it new, makes the whole doubtful; None when it does not."""
    if fresh < page.brought:
        return "it contains a key twice"
    if page.next is not None and start is not None and page.next.encode() <= start.encode():
        return "a page points back to an earlier page"
    return None
