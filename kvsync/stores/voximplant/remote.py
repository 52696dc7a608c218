"""The far side of one store: one client, and one turn after the other for all who share an account."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit
from weakref import WeakValueDictionary

from kvsync.clock import Clock
from kvsync.config.model import StoreConfig
from kvsync.errors import AuthError, PermanentError, TransientError
from kvsync.http.client import Client, Limits
from kvsync.http.limits import TokenBucket
from kvsync.http.model import Answer, Call
from kvsync.stores.base import StoreContext, Traffic
from kvsync.stores.voximplant.answers import Judge
from kvsync.stores.voximplant.limits import PAGE
from kvsync.stores.voximplant.service_account import ServiceAccount

ENDPOINT: Final = "https://api.voximplant.com"

_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
_WHATEVER: Final = range(100, 600)
"""Statuses; what the body says counts."""

_turns: WeakValueDictionary[tuple[str, str, float, int], TokenBucket] = WeakValueDictionary()


class Remote:
    """Connects on first use. Raises AuthError for a key file that cannot be read.

    `quiet` is held while pages are listed, and by whoever changes something: what is deleted meanwhile moves the others to
    where a listing does not look any more.
    """

    def __init__(self, config: StoreConfig, context: StoreContext, traffic: Traffic, rate: float, most: int) -> None:
        endpoint, self._options = config.endpoint or ENDPOINT, config.options
        self.where, self.clock = f"store {config.name}", context.clock
        self.account = ServiceAccount(self.where, context.resolve, self._options["credentials"], context.clock)
        self._target = f"{urlsplit(endpoint).path.rstrip('/')}/platform_api"
        self._client = Client(
            self.where,
            endpoint,
            context.clock,
            traffic,
            limits=Limits(config.timeout, most),
            credentials=self.account,
            judge=Judge(self.where, self.account, context.clock),
            turns=_turns_of(endpoint, self.account.file().account, rate, context.clock),
            read_only=context.read_only,
            fence=context.fence,
        )
        self.quiet = asyncio.Lock()
        self._scope: Mapping[str, str] | None = None
        self._finding = asyncio.Lock()

    async def ask(self, method: str, what: str, parameters: Mapping[str, str | int]) -> Answer:
        """Ask of the application, without changing anything. Raises StoreError."""
        return await self._send(method, what, {**parameters, **await self.application()}, reads=True)

    async def change(
        self, method: str, what: str, parameters: Mapping[str, str | int], *, is_secret: bool = False
    ) -> Answer:
        """Change the application, once. Raises StoreError."""
        parameters = {**parameters, **await self.application()}
        return await self._send(method, what, parameters, reads=False, is_secret=is_secret)

    async def page(self, method: str, pattern: str, offset: int) -> list[dict[str, Any]]:
        """A page of `GetKeyValueItems` or `GetKeyValueKeys`. Raises StoreError."""
        what = f"listing {pattern or 'the keys'}"
        parameters: dict[str, str | int] = {"count": PAGE, "offset": offset} | ({"key": pattern} if pattern else {})
        data = (await self.ask(method, what, parameters)).problem()
        items = data.get("result") if data.get("error") is None else []
        if not isinstance(items, list) or not all(map(_is_item, items)):
            raise TransientError(f"{self.where}: {what} failed: the answer is no list of items; check the endpoint")
        return items

    async def item(self, key: str) -> dict[str, Any] | None:
        """One item, None where there is none: the API has an error, null and nothing at all for that. Raises StoreError."""
        what = f"reading {key}"
        data = (await self.ask("GetKeyValueItem", what, {"key": key})).problem()
        item = data.get("result") if data.get("error") is None else None
        if item is None or (_is_item(item) and item["key"] == key):
            return item
        raise TransientError(f"{self.where}: {what} failed: the answer is not that item")

    async def application(self) -> Mapping[str, str]:
        """The parameter that names the application. Raises StoreError."""
        async with self._finding:
            if self._scope is None:
                id_ = self._options.get("application_id")
                self._scope = {"application_id": str(id_)} if id_ is not None else await self._by_name()
        return self._scope

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self._client.aclose()

    async def _by_name(self) -> Mapping[str, str]:
        """The id behind the name, since not all methods take names; the name itself where applications may not be listed."""
        name: str = self._options["application"]
        what = f"looking for the application {name}"
        try:
            answer = await self._send("GetApplications", what, {"application_name": name}, reads=True)
        except AuthError:
            return {"application_name": name}
        listed = answer.problem().get("result")
        found = [_id(one) for one in listed if _is_named(one, name)] if isinstance(listed, list) else []
        if not found:
            raise PermanentError(f'{self.where}: there is no application "{name}"; correct application')
        return {"application_id": found[0]}

    async def _send(
        self, method: str, what: str, parameters: Mapping[str, str | int], *, reads: bool, is_secret: bool = False
    ) -> Answer:
        """The method goes into the body as well, as the service's own clients do it: nothing of a call is in its URL."""
        body = urlencode({"cmd": method, **parameters}).encode()
        call = Call("POST", self._target, what, _FORM, body, _WHATEVER, reads=reads, is_secret=is_secret)
        return await self._client.send(call)


def _is_item(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("key"), str)


def _is_named(application: Any, name: str) -> bool:
    """By its short name, or by the full one that the service makes of it."""
    full = application.get("application_name") if isinstance(application, dict) else None
    return isinstance(full, str) and name in (full, full.partition(".")[0])


def _id(application: Mapping[str, Any]) -> str:
    return str(application.get("application_id"))


def _turns_of(endpoint: str, account: str, rate: float, clock: Clock) -> TokenBucket:
    """The turns that all stores of this process with the same account share."""
    key = endpoint, account, rate, id(clock)
    turns = _turns.get(key)
    if turns is None:
        _turns[key] = turns = TokenBucket(rate, clock)
    return turns
