"""Lists that the API returns in numbered pages: accounts and namespaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from kvsync.errors import TransientError
from kvsync.http.client import Client
from kvsync.http.failures import understood
from kvsync.http.model import Request
from kvsync.http.paging import MOST_NAMESPACE_PAGES, ListingPage, walk
from kvsync.stores.remote_store import Connection


class NumberedList(NamedTuple):
    """A list that was read to its end: its items, and how many pages it has."""

    items: dict[str, str]
    pages: int


async def read_list(
    client: Client, connection: Connection, what: str, target: Callable[[int], str], members: tuple[str, str]
) -> NumberedList:
    """Read all pages of a list. `what` says what the requests are for, `target` gives the one for a page. The items map one of
    the two `members` to the other. Raises StoreError."""
    label, found = connection.label, dict[str, str]()

    async def fetch(number: int) -> ListingPage[dict[str, str], int]:
        answer = await client.send(Request("GET", target(number), what, is_json=True))
        with understood(label, what, "a list of them", answer):
            items, total = _page(answer.data, *members)
        is_known = items.keys() <= found.keys()
        if items and is_known and total is not None:
            raise TransientError(f"{label}: {what} failed: the pages repeat")
        found.update(items)
        is_last = is_known if total is None else not items or len(found) >= total
        return ListingPage(items, len(items), len(answer.body), None if is_last else number + 1)

    limit = connection.listing_limit(what, MOST_NAMESPACE_PAGES)
    return NumberedList(found, sum([1 async for _ in walk(1, fetch, limit)]))


def _page(data: Any, key: str, member: str) -> tuple[dict[str, str], int | None]:
    """The items of a page, and the number of all items. None if the API does not report it: then all pages are read, until one
    has no new item, because a server may send shorter pages than were asked for."""
    items = {item[key]: item[member] for item in data["result"] or ()}
    if not all(isinstance(text, str) for pair in items.items() for text in pair):
        raise TypeError("the members of an item must be text")
    total = (data.get("result_info") or {}).get("total_count")
    return items, total if isinstance(total, int) and total >= 0 else None
