"""Resolves names of key-value stores to their ids, and creates missing ones.

A name is looked up again after a minute, and right before a pass writes: a store may be renamed, deleted or replaced by
another one of its name. In between it is known by its id.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

from kvsync.errors import PermanentError, StoreError, TransientError
from kvsync.http.model import Request, Response
from kvsync.http.paging import MOST_NAMESPACE_PAGES
from kvsync.stores.apify.answers import StoreGoneError
from kvsync.stores.apify.place import looks_like_id
from kvsync.stores.apify.rates import OTHERS, RECORDS, Rate
from kvsync.stores.apify.requests import Targets
from kvsync.util.clock import Clock

Send = Callable[[Request], Awaitable[Response]]

_NAME: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,64}~)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")

_FRESH_SECONDS: Final = 60.0
"""How long it is believed that a name leads to the same store."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class KeyValueStore:
    """One store of the API: its id, and how often it may be asked, about records and otherwise. `user` is the id of the
    user whose it is, empty where the server does not give it; `title` is what people call it."""

    id: str
    records: Rate
    others: Rate
    user: str = ""
    title: str = ""


class _Known(NamedTuple):
    """What a name led to at a moment (seconds of the monotonic clock): a store, or None for one that was still to be made.
    `address` is how the store was found. `gone` is the error of one that was deleted since: nothing is read, written or made
    under this name before it is located again."""

    store: KeyValueStore | None
    moment: float
    address: str = ""
    gone: str = ""


class Namespaces:
    """Finds the stores of an account by their names in state files. `username` is whose they are, None for the token's own;
    `creates` says that one that is missing is made when something is written to it."""

    def __init__(
        self,
        where: str,
        send: Send,
        targets: Targets,
        clock: Clock,
        *,
        username: str | None,
        creates: bool,
    ) -> None:
        self._where, self._send, self._targets = where, send, targets
        self._clock = clock
        self._username, self._creates = username, creates
        self._known: dict[str, _Known] = {}
        self._stores: WeakValueDictionary[str, KeyValueStore] = WeakValueDictionary()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def locate(self, name: str, *, writing: bool = False) -> KeyValueStore | None:
        """The store that a name leads to, as of at most a minute ago; None for one that is still to be made. With
        `writing`, as of now, and made if it is missing and may be made. Raises PermanentError where it may not be made,
        StoreError."""
        async with self._locks[name]:
            known = self._known.get(name)
            if (
                known is not None
                and not known.gone
                and not writing
                and self._clock.monotonic() - known.moment < _FRESH_SECONDS
            ):
                return known.store
            found = await self._look_up(name, known)
            if found is None and writing:
                found = await self._make(name)
            return found

    async def find(self, name: str) -> KeyValueStore | None:
        """The store that was located last under this name; None for one that is still to be made. Raises as `locate`, and
        PermanentError for one that was deleted since."""
        known = self._known.get(name)
        if known is not None and known.gone:
            raise PermanentError(known.gone)
        return known.store if known is not None and known.store is not None else await self.locate(name)

    async def find_or_make(self, name: str) -> KeyValueStore:
        """The store that was located last under this name, which is made if it is missing and may be made. Raises
        StoreError."""
        found = await self.find(name) or await self.locate(name, writing=True)
        assert found is not None, "a store that may not be made is an error"
        return found

    async def names(self) -> list[str]:
        """The names of the account's stores, sorted; those without a name are left out. Raises StoreError."""
        found: set[str] = set()
        offset = 0
        for _ in range(MOST_NAMESPACE_PAGES):
            call = Request("GET", self._targets.stores(offset), "listing the key-value stores", is_json=True)
            items, total = self._page(await self._send(call))
            found |= {item["name"] for item in items if self._is_ours(item)}
            offset += len(items)
            if not items or offset >= total:
                return sorted(found)
        raise TransientError(
            f"{self._where}: listing the key-value stores failed: more than {MOST_NAMESPACE_PAGES} pages; check the endpoint"
        )

    async def is_writable(self, name: str) -> bool:
        """Whether the token may write to a store, which is when its secret is shown. Raises StoreError."""
        data = await self._get(self._address(name), name)
        return data is not None and bool(data.get("urlSigningSecretKey"))

    def gone(self, name: str, error: StoreGoneError) -> PermanentError:
        """The error for a store that was located and does not exist any more."""
        gone = f'{error}; the key-value store "{name}" was deleted in the meantime'
        self._known[name] = _Known(None, self._clock.monotonic(), gone=gone)
        return PermanentError(gone)

    async def _look_up(self, name: str, known: _Known | None) -> KeyValueStore | None:
        if not _NAME.fullmatch(name):
            raise PermanentError(
                f'{self._where}: "{name}" is not a valid name of a key-value store (use letters, digits and -)'
            )
        for address in self._addresses(name, known):
            data = await self._get(address, name)
            if data is not None:
                return self._keep(name, data, address)
        self._known.pop(name, None)
        if not self._creates or "~" in name:
            raise PermanentError(await self._missing(name))
        self._known[name] = _Known(None, self._clock.monotonic())
        return None

    def _addresses(self, name: str, known: _Known | None) -> list[str]:
        """Where to look for a store: by its name, then by its id if that is what the name looks like; first where it was
        found."""
        addresses = [self._address(name)] + ([name] if looks_like_id(name) else [])
        if known is not None and known.address in addresses:
            addresses.sort(key=lambda address: address != known.address)
        return addresses

    def _address(self, name: str) -> str:
        return name if "~" in name else f"{self._username or ''}~{name}"

    async def _get(self, address: str, name: str) -> Mapping[str, Any] | None:
        what = f"looking for the key-value store {name}"
        call = Request("GET", self._targets.store(address), what, is_json=True)
        try:
            return self._data(await self._send(call), what)
        except StoreGoneError:
            return None

    async def _make(self, name: str) -> KeyValueStore:
        if self._username is not None:
            await self._must_be_own(name)
        what = f"creating the key-value store {name}"
        call = Request("POST", self._targets.make(name), what, expects=(200, 201))
        made = self._data(await self._send(call), what)
        address = self._address(name)
        if not made.get("userId"):  # as all others see it, so that its place is the same from the beginning
            made = await self._get(address, name) or made
        return self._keep(name, made, address)

    async def _must_be_own(self, name: str) -> None:
        what = "looking up the user of the token"
        data = self._data(await self._send(Request("GET", self._targets.me, what, is_json=True)), what)
        if self._username not in (data.get("username"), data.get("id")):
            raise PermanentError(
                f'{self._where}: there is no key-value store "{name}" of user {self._username}, and the token cannot create one'
                f" there, because it belongs to {data.get('username')}"
            )

    def _keep(self, name: str, data: Mapping[str, Any], address: str) -> KeyValueStore:
        id_ = data["id"]
        if not data.get("name"):
            self._known.pop(name, None)
            raise PermanentError(
                f"{self._where}: the key-value store {name} has no name, and Apify deletes unnamed stores; give it a"
                " name in the Console, or create one with a name"
            )
        known = self._stores.get(id_) or KeyValueStore(id_, Rate(RECORDS, self._clock), Rate(OTHERS, self._clock))
        store = replace(known, user=_text(data.get("userId")), title=_title(data))
        self._stores[id_] = store
        self._known[name] = _Known(store, self._clock.monotonic(), address)
        return store

    def _data(self, answer: Response, what: str) -> Mapping[str, Any]:
        data = answer.problem().get("data")
        if isinstance(data, dict) and isinstance(data.get("id"), str) and data["id"]:
            return data
        raise TransientError(f"{self._where}: {what} failed: the response is not from this API; check the endpoint")

    async def _missing(self, name: str) -> str:
        try:
            near = get_close_matches(name, await self.names(), 1)
        except StoreError:
            near = []
        meant = f' (did you mean "{near[0]}"?)' if near else ""
        way = "check its owner" if "~" in name else "create it, or set create_namespaces: true"
        return f'{self._where}: there is no key-value store "{name}"{meant}; {way}'

    def _page(self, answer: Response) -> tuple[list[Mapping[str, Any]], int]:
        """Stores of a page, and how many there are in all."""
        data = answer.data.get("data") if isinstance(answer.data, dict) else None
        items, total = (data.get("items"), data.get("total")) if isinstance(data, dict) else (None, None)
        if not isinstance(items, list) or not isinstance(total, int) or not all(isinstance(one, dict) for one in items):
            raise TransientError(
                f"{self._where}: listing the key-value stores failed: the response is not a list of them; check the endpoint"
            )
        return items, total

    def _is_ours(self, item: Mapping[str, Any]) -> bool:
        """True for a store with a name that is asked for by that name alone."""
        owners = (item.get("username"), item.get("userId"))
        is_asked = self._username is None or self._username in owners
        return isinstance(item.get("name"), str) and item["name"] != "" and is_asked


def _title(data: Mapping[str, Any]) -> str:
    """What people call a store: `jane/settings`."""
    return "/".join(filter(None, (_text(data.get("username")), _text(data.get("name")))))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
