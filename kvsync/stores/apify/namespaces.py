"""From the names of key-value stores to the stores themselves. Each is asked for once; from then on it is known by its id."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from kvsync.clock import Clock
from kvsync.errors import PermanentError, StoreError, TransientError
from kvsync.http.model import Answer, Call
from kvsync.stores.apify.answers import StoreGoneError
from kvsync.stores.apify.rates import OTHERS, RECORDS, Rate
from kvsync.stores.apify.requests import Targets

Send = Callable[[Call], Awaitable[Answer]]

_NAME: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,64}~)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_ID: Final = re.compile(r"[A-Za-z0-9]{17}")


@dataclass(frozen=True, slots=True)
class KeyValueStore:
    """One store of the API: its id, and how often it may be asked, about records and otherwise."""

    id: str
    records: Rate
    others: Rate


class Namespaces:
    """Knows the stores of an account by their names in state files. `username` is whose they are, None for the token's own;
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
        self._known: dict[str, KeyValueStore] = {}
        self._lock = asyncio.Lock()

    async def find(self, name: str) -> KeyValueStore | None:
        """The store of this name; None for one that is still to be made. Raises PermanentError where it is not to be made,
        StoreError."""
        if name in self._known:
            return self._known[name]
        async with self._lock:
            return await self._find(name)

    async def find_or_make(self, name: str) -> KeyValueStore:
        """The store of this name, which is made when it is missing and may be made. Raises StoreError."""
        if name in self._known:
            return self._known[name]
        async with self._lock:
            return await self._find(name) or await self._make(name)

    async def names(self) -> list[str]:
        """The names of the account's stores, sorted; those without a name are left out. Raises StoreError."""
        found: set[str] = set()
        offset = 0
        while True:
            call = Call("GET", self._targets.stores(offset), "listing the key-value stores", is_json=True)
            items, total = self._page(await self._send(call))
            found |= {item["name"] for item in items if self._is_ours(item)}
            offset += len(items)
            if not items or offset >= total:
                return sorted(found)

    async def is_writable(self, name: str) -> bool:
        """Whether the token may write to a store, which is when its secret is shown. Raises StoreError."""
        data = await self._get(self._address(name), name)
        return data is not None and bool(data.get("urlSigningSecretKey"))

    def gone(self, name: str, error: StoreGoneError) -> PermanentError:
        """What to say, and to forget, when a store that was known does not exist any longer."""
        self._known.pop(name, None)
        return PermanentError(f'{error}; the key-value store "{name}" was deleted meanwhile')

    async def _find(self, name: str) -> KeyValueStore | None:
        if name in self._known:
            return self._known[name]
        if not _NAME.fullmatch(name):
            raise PermanentError(
                f'{self._where}: "{name}" cannot be the name of a key-value store (letters, digits, -)'
            )
        data = await self._get(self._address(name), name)
        if data is None and _ID.fullmatch(name):
            data = await self._get(name, name)
        if data is not None:
            return self._keep(name, data)
        if not self._creates or "~" in name:
            raise PermanentError(await self._missing(name))
        return None

    def _address(self, name: str) -> str:
        return name if "~" in name else f"{self._username or ''}~{name}"

    async def _get(self, address: str, name: str) -> Mapping[str, Any] | None:
        what = f"looking for the key-value store {name}"
        call = Call("GET", self._targets.store(address), what, is_json=True)
        try:
            return self._data(await self._send(call), what)
        except StoreGoneError:
            return None

    async def _make(self, name: str) -> KeyValueStore:
        if self._username is not None:
            await self._must_be_own(name)
        what = f"making the key-value store {name}"
        call = Call("POST", self._targets.make(name), what, expects=(200, 201))
        return self._keep(name, self._data(await self._send(call), what))

    async def _must_be_own(self, name: str) -> None:
        what = "asking whose the token is"
        data = self._data(await self._send(Call("GET", self._targets.me, what, is_json=True)), what)
        if self._username not in (data.get("username"), data.get("id")):
            raise PermanentError(
                f'{self._where}: there is no key-value store "{name}" of user {self._username}, and the token cannot make one'
                f" there, for it belongs to {data.get('username')}"
            )

    def _keep(self, name: str, data: Mapping[str, Any]) -> KeyValueStore:
        id_ = data["id"]
        if not data.get("name"):
            raise PermanentError(
                f"{self._where}: the key-value store {name} has no name, and Apify deletes such stores after a while; give it a"
                " name in the Console, or create one with a name"
            )
        for other, known in self._known.items():
            if known.id == id_:
                raise PermanentError(
                    f'{self._where}: "{name}" and "{other}" are the same key-value store; name it once'
                )
        self._known[name] = KeyValueStore(id_, Rate(RECORDS, self._clock), Rate(OTHERS, self._clock))
        return self._known[name]

    def _data(self, answer: Answer, what: str) -> Mapping[str, Any]:
        data = answer.problem().get("data")
        if isinstance(data, dict) and isinstance(data.get("id"), str) and data["id"]:
            return data
        raise TransientError(f"{self._where}: {what} failed: the answer is none of this API; check the endpoint")

    async def _missing(self, name: str) -> str:
        try:
            near = get_close_matches(name, await self.names(), 1)
        except StoreError:
            near = []
        meant = f' (did you mean "{near[0]}"?)' if near else ""
        way = "check whose it is" if "~" in name else "make it, or set create_namespaces: true"
        return f'{self._where}: there is no key-value store "{name}"{meant}; {way}'

    def _page(self, answer: Answer) -> tuple[list[Mapping[str, Any]], int]:
        """Stores of a page, and how many there are in all."""
        data = answer.data.get("data") if isinstance(answer.data, dict) else None
        items, total = (data.get("items"), data.get("total")) if isinstance(data, dict) else (None, None)
        if not isinstance(items, list) or not isinstance(total, int) or not all(isinstance(one, dict) for one in items):
            raise TransientError(f"{self._where}: listing the key-value stores failed: the answer is no such list")
        return items, total

    def _is_ours(self, item: Mapping[str, Any]) -> bool:
        """True for a store with a name that is asked for by that name alone."""
        owners = (item.get("username"), item.get("userId"))
        is_asked = self._username is None or self._username in owners
        return isinstance(item.get("name"), str) and item["name"] != "" and is_asked
