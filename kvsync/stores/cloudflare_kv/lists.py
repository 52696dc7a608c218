"""Lists that the API returns in numbered pages: namespaces, and accounts, in which the configured one is found by its name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

from kvsync.errors import AuthError, PermanentError, TransientError
from kvsync.http.client import Client
from kvsync.http.failures import understood
from kvsync.http.model import Request
from kvsync.http.paging import MOST_NAMESPACE_PAGES, ListingPage, walk
from kvsync.stores.remote_store import Connection

_MOST_SHOWN: Final = 10
"""Names in a message."""

_BY_ID: Final = "set account_id to the id of the account instead of account"


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


class AccountFinder:
    """Finds the id of an account by its name, once: the id stays the same when the account is renamed. `list_accounts` gives
    the names of all accounts by id, and raises StoreError."""

    def __init__(self, label: str, name: str, list_accounts: Callable[[], Awaitable[Mapping[str, str]]]) -> None:
        self._label, self._name, self._list_accounts = label, name, list_accounts
        self._id: str | None = None
        self._looking = asyncio.Lock()

    async def find(self) -> str:
        """The id of the account. Raises PermanentError for a name that no account has, or several, and StoreError."""
        async with self._looking:
            if self._id is None:
                self._id = self._named(await self._listed())
            return self._id

    async def _listed(self) -> Mapping[str, str]:
        try:
            return await self._list_accounts()
        except AuthError as error:
            raise AuthError(f"{error}; if the credential is not allowed to list accounts, {_BY_ID}") from None

    def _named(self, accounts: Mapping[str, str]) -> str:
        found = sorted(id_ for id_, name in accounts.items() if name == self._name)
        if len(found) == 1:
            return found[0].lower()
        if found:
            several = f'several accounts are named "{self._name}" ({", ".join(found)})'
            raise PermanentError(f"{self._label}: {several}; {_BY_ID}")
        message = f'{self._label}: there is no account "{self._name}" among those of the credential'
        raise PermanentError(f"{message} ({_shown(sorted(accounts.values()))}); correct account, or {_BY_ID}")


def _page(data: Any, key: str, member: str) -> tuple[dict[str, str], int | None]:
    """The items of a page, and the number of all items. None if the API does not report it: then all pages are read, until one
    has no new item, because a server may send shorter pages than were asked for."""
    items = {item[key]: item[member] for item in data["result"] or ()}
    if not all(isinstance(text, str) for pair in items.items() for text in pair):
        raise TypeError("the members of an item must be text")
    total = (data.get("result_info") or {}).get("total_count")
    return items, total if isinstance(total, int) and total >= 0 else None


def _shown(names: list[str]) -> str:
    if not names:
        return "it can list none"
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(f'"{name}"' for name in names[:_MOST_SHOWN]) + more
