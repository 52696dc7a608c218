"""Key-value storage of one application: lists, reads, writes and deletes one entry at a time, with an exact lifetime."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from kvsync.errors import LostAnswer, PermanentError, TransientError
from kvsync.http.failures import excerpt, unconfirmed
from kvsync.http.model import Request, Response
from kvsync.http.moments import moment_from
from kvsync.stores.base import Write
from kvsync.stores.chunked_ledger import RESERVED, Chunk, ChunkedLedger, ChunkLimits
from kvsync.stores.voximplant.api import LONGEST, MOST_VALUE, PAGE
from kvsync.stores.voximplant.listing import Item, Listed, everything
from kvsync.stores.voximplant.remote import Application, Remote

_CLOSE: Final = 60
"""Seconds by which an entry may expire earlier or later than it should."""

Lifetime = Mapping[str, int]
"""`ttl` or `expires_at`, never both."""


def lifetime_of(write: Write, now: float) -> Lifetime | None:
    """The lifetime to ask for. The server's clock counts a TTL, and a lifetime that is longer than the service keeps entries:
    such an entry is renewed. None for an entry that has expired."""
    if write.expires_at is None:
        return {"ttl": LONGEST}
    left = math.ceil(write.expires_at - now)
    if left < 1:
        return None
    has_ttl = write.mark is not None and write.mark.ttl is not None
    if has_ttl or left > LONGEST - _CLOSE:
        return {"ttl": min(left, LONGEST)}
    return {"expires_at": math.ceil(write.expires_at)}


class Storage:
    """The storage of one application, which every call names by its id."""

    def __init__(self, remote: Remote, application: Application) -> None:
        self.remote, self.application = remote, application

    def pages(self, method: str, pattern: str) -> Callable[[int], Awaitable[list[Item]]]:
        """A function that reads the page of `GetKeyValueItems` or `GetKeyValueKeys` at an offset, within the limits of one
        listing."""
        what = f"listing {pattern or 'the keys'}"
        limit = self.remote.connection.listing_limit(what)

        async def page(offset: int) -> list[Item]:
            named: dict[str, str | int] = {"count": PAGE, "offset": offset} | ({"key": pattern} if pattern else {})
            answer = await self.ask(method, what, named)
            data = answer.problem()
            items = data.get("result") if data.get("error") is None else []
            if not isinstance(items, list) or not all(map(_is_item, items)):
                raise self._not_understood(what, "a list of items", answer)
            limit.count(len(items), len(answer.body), is_last=len(items) < PAGE)
            return items

        return page

    async def item(self, key: str) -> Item | None:
        """One item, None if there is none: the API returns an error or null then. An object without a result says nothing about
        the item: a listing decides. Raises StoreError."""
        what = f"reading {key}"
        answer = await self.ask("GetKeyValueItem", what, {"key": key})
        data = answer.problem()
        if data.get("error") is None and "result" not in data:
            return await self._listed_item(key, what)
        item = data["result"] if data.get("error") is None else None
        if item is None or (_is_item(item) and item["key"] == key):
            return item
        raise self._not_understood(what, "that item", answer)

    async def put(self, key: str, value: str, lifetime: Lifetime, *, is_secret: bool = False) -> None:
        """Write one entry, and make sure that it lives as long as it should. Raises StoreError.

        It is not documented whether writing an equal value again renews the lifetime: the first such write shows it. If it does
        not, the entry is deleted and written again.
        """
        async with self.remote.quiet:
            item = await self._set(key, value, lifetime, is_secret)
            if self.remote.renews or item.get("value") != value or self._expires_as_requested(item, lifetime):
                return
            found = await self.item(key) or {}
            if found.get("value") != value:
                return  # another program has changed it, as the next read shows
            if self._expires_as_requested(found, lifetime):
                self.remote.renews = True
                return
            await self._delete(key)
            again = {name: number - 1 for name, number in lifetime.items()}  # or it could pass for a repeated call
            new = await self._set(key, value, again, is_secret)
            self.remote.renews = not self._expires_as_requested(new, lifetime)  # then the clocks disagree by so much

    async def delete(self, key: str) -> None:
        """Delete one entry, which need not exist. Raises StoreError."""
        async with self.remote.quiet:
            await self._delete(key)

    async def ask(self, method: str, what: str, parameters: Mapping[str, str | int]) -> Response:
        """Make a call that changes nothing. Raises StoreError."""
        return await self.remote.send(self.application.account, self._named(method, parameters), what, reads=True)

    async def _listed_item(self, key: str, what: str) -> Item | None:
        """One item as a listing shows it: the namespace is listed by its first part, which every reading of a pattern finds."""
        listed = await everything(self.pages("GetKeyValueItems", key.partition(":")[0]), PAGE)
        if key not in listed.items and listed.problem is not None:
            raise TransientError(f"{self.remote.label}: {what} failed: {listed.problem}")
        return listed.items.get(key)

    async def _change(
        self, method: str, what: str, parameters: Mapping[str, str | int], *, is_secret: bool = False
    ) -> Response:
        """Make a call that changes something, once. Raises StoreError; PermanentError, with nothing sent, if the configuration
        leads to another application now (as of at most a minute ago)."""
        now = await self.remote.applications.find()
        if now != self.application:
            moved = f"the configuration now points to {now}, not to {self.application}"
            raise PermanentError(f"{self.remote.label}: {what} was not sent: {moved}; the next pass uses the new one")
        named = self._named(method, parameters)
        return await self.remote.send(self.application.account, named, what, reads=False, is_secret=is_secret)

    async def _delete(self, key: str) -> None:
        what = f"deleting {key}"
        answer = await self._change("DelKeyValueItem", what, {"key": key})
        problem = answer.problem()
        if problem.get("error") is None and not isinstance(problem.get("result"), int | float):
            raise self._unconfirmed(what, answer)

    async def _set(self, key: str, value: str, lifetime: Lifetime, is_secret: bool) -> Mapping[str, Any]:
        what = f"writing {key}"
        parameters: dict[str, str | int] = {"key": key, "value": value, **lifetime}
        answer = await self._change("SetKeyValueItem", what, parameters, is_secret=is_secret)
        if answer.problem().get("error") is not None:
            raise PermanentError(f"{self.remote.label}: {what} failed: the service finds no record to write")
        result = answer.problem().get("result")
        if not isinstance(result, dict) or result.get("key") != key:
            raise self._unconfirmed(what, answer, is_secret=is_secret)
        return result

    def _expires_as_requested(self, item: Mapping[str, Any], lifetime: Lifetime) -> bool:
        """True if an item expires about when it should; clocks may disagree a little."""
        now, end = self.remote.clock.now(), moment_from(item.get("expires_at"))
        until = lifetime["expires_at"] if "expires_at" in lifetime else now + lifetime["ttl"]
        return end is None or abs(end - until) <= max(_CLOSE, (until - now) / 10)

    def _named(self, method: str, parameters: Mapping[str, str | int]) -> Mapping[str, str | int]:
        return {"cmd": method, **parameters, "application_id": self.application.id}

    def _unconfirmed(self, what: str, answer: Response, *, is_secret: bool = False) -> LostAnswer:
        return unconfirmed(self.remote.label, Request("POST", "", what, is_secret=is_secret), answer)

    def _not_understood(self, what: str, expected: str, answer: Response) -> TransientError:
        shown = excerpt(Request("POST", "", what), answer)
        return TransientError(
            f"{self.remote.label}: {what} failed: the response is not {expected} ({shown}); check the endpoint"
        )


class NamespaceKeys:
    """The keys of one namespace, for as long as it leads to `storage`: `pattern` lists them, `prefix` is what they begin with.
    `pages` is how many pages a listing takes, as far as it is known."""

    def __init__(self, storage: Storage, pattern: str, prefix: str, *, keeps_ledger: bool) -> None:
        self.storage, self.pages = storage, PAGE
        self._pattern, self._keeps_ledger = pattern, keeps_ledger
        remote, limits = storage.remote, ChunkLimits(LONGEST, MOST_VALUE)
        self.ledger = ChunkedLedger(remote.label, _LedgerStorage(storage), prefix, limits, remote.clock, self.list)

    async def list(self) -> Listed:
        """All keys of the namespace. The service may return a few more. Raises StoreError."""
        async with self.storage.remote.quiet:
            listed = await everything(self.storage.pages("GetKeyValueItems", self._pattern), PAGE)
        self.pages = len(listed.items) // (PAGE - 1) + 1
        if self._keeps_ledger and listed.problem is None:
            self.ledger.observe({key: _chunk(item) for key, item in listed.items.items() if RESERVED in key})
        return listed


class _LedgerStorage:
    """Reads and writes chunks of a ledger as entries."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def get(self, key: str) -> Chunk | None:
        item = await self._storage.item(key)
        return None if item is None else _chunk(item)

    async def put(self, key: str, text: str) -> None:
        await self._storage.put(key, text, {"ttl": LONGEST})

    async def delete(self, key: str) -> None:
        await self._storage.delete(key)


def _chunk(item: Item) -> Chunk:
    value = item.get("value")
    return Chunk(value if isinstance(value, str) else "", moment_from(item.get("expires_at")) or 0.0)


def _is_item(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("key"), str)
