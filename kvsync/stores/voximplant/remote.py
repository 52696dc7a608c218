"""Connection to the API, with calls serialized per account, and the storages of its applications."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit
from weakref import WeakValueDictionary

from kvsync.config.model import StoreConfig
from kvsync.errors import PermanentError, TransientError
from kvsync.http.client import Client, ClientLimits, ClientOptions
from kvsync.http.model import Response
from kvsync.http.paging import ListingLimit
from kvsync.http.rate_limits import TokenBucket
from kvsync.model.health import Traffic
from kvsync.stores.base import StoreContext
from kvsync.stores.voximplant.answers import ErrorMapper
from kvsync.stores.voximplant.applications import ApplicationFinder
from kvsync.stores.voximplant.limits import PAGE
from kvsync.stores.voximplant.place import ENDPOINT, Application
from kvsync.stores.voximplant.service_account import AccountRequest, ServiceAccount
from kvsync.util.clock import Clock

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
        endpoint = config.endpoint or ENDPOINT
        self.where, self.clock, self.limits = f"store {config.name}", context.clock, context.limits
        self.account = account = ServiceAccount(
            self.where, context.resolve, config.options["credentials"], context.clock
        )
        self.applications = ApplicationFinder(
            self.where, config.options, lambda: account.file().account, context.clock, self._list_applications
        )
        self._target = f"{urlsplit(endpoint).path.rstrip('/')}/platform_api"
        self._client = Client(
            self.where,
            endpoint,
            context.clock,
            traffic,
            ClientOptions(
                limits=ClientLimits(config.timeout, most, answers=context.limits),
                credentials=account,
                error_mapper=ErrorMapper(self.where, account, context.clock),
                shared_limiter=_turns_of(endpoint, account.file().account, rate, context.clock),
                read_only=context.read_only,
                fence=context.fence,
            ),
        )
        self.quiet = asyncio.Lock()

    async def storage(self) -> Storage:
        """The storage of the application that the configuration names, as of at most a minute ago. Raises StoreError."""
        return Storage(self, await self.applications.find())

    async def send(
        self,
        account: str,
        method: str,
        what: str,
        parameters: Mapping[str, str | int],
        *,
        reads: bool,
        is_secret: bool = False,
    ) -> Response:
        """Send one call in the name of an account. The method goes into the body as well, as the service's own clients do it:
        nothing of a call is in its URL. Raises StoreError."""
        body = urlencode({"cmd": method, **parameters}).encode()
        call = AccountRequest(
            "POST", self._target, what, _FORM, body, _WHATEVER, reads=reads, is_secret=is_secret, account=account
        )
        return await self._client.send(call)

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self._client.aclose()

    async def _list_applications(self, account: str, what: str, parameters: Mapping[str, str | int]) -> Response:
        return await self.send(account, "GetApplications", what, parameters, reads=True)


class Storage:
    """The key-value storage of one application: every call names it by its id."""

    def __init__(self, remote: Remote, application: Application) -> None:
        self.application = application
        self.where, self.clock, self.quiet = remote.where, remote.clock, remote.quiet
        self._remote = remote

    async def ask(self, method: str, what: str, parameters: Mapping[str, str | int]) -> Response:
        """Ask without changing anything. Raises StoreError."""
        return await self._send(method, what, parameters, reads=True)

    async def change(
        self, method: str, what: str, parameters: Mapping[str, str | int], *, is_secret: bool = False
    ) -> Response:
        """Change something, once. Raises StoreError; PermanentError, with nothing sent, when the configuration leads to another
        application by now, as of at most a minute ago."""
        now = await self._remote.applications.find()
        if now != self.application:
            moved = f"the configuration now points to {now}, not to {self.application}"
            raise PermanentError(f"{self.where}: {what} was not sent: {moved}; the next pass uses the new one")
        return await self._send(method, what, parameters, reads=False, is_secret=is_secret)

    def pages(self, method: str, pattern: str) -> Callable[[int], Awaitable[list[dict[str, Any]]]]:
        """What gives the page of `GetKeyValueItems` or `GetKeyValueKeys` at an offset, as often as one listing may ask."""
        what = f"listing {pattern or 'the keys'}"
        limit = ListingLimit(f"{self.where}: {what}", self._remote.limits, self.clock)

        async def page(offset: int) -> list[dict[str, Any]]:
            items, size = await self._page(method, what, pattern, offset)
            limit.count(len(items), size, is_last=len(items) < PAGE)
            return items

        return page

    async def _page(self, method: str, what: str, pattern: str, offset: int) -> tuple[list[dict[str, Any]], int]:
        """One page, and how many bytes came. Raises StoreError."""
        parameters: dict[str, str | int] = {"count": PAGE, "offset": offset} | ({"key": pattern} if pattern else {})
        answer = await self.ask(method, what, parameters)
        data = answer.problem()
        items = data.get("result") if data.get("error") is None else []
        if not isinstance(items, list) or not all(map(_is_item, items)):
            raise TransientError(
                f"{self.where}: {what} failed: the response is not a list of items; check the endpoint"
            )
        return items, len(answer.body)

    async def item(self, key: str) -> dict[str, Any] | None:
        """One item, None where there is none: the API has an error, null and nothing at all for that. Raises StoreError."""
        what = f"reading {key}"
        data = (await self.ask("GetKeyValueItem", what, {"key": key})).problem()
        item = data.get("result") if data.get("error") is None else None
        if item is None or (_is_item(item) and item["key"] == key):
            return item
        raise TransientError(f"{self.where}: {what} failed: the response is not that item")

    async def _send(
        self, method: str, what: str, parameters: Mapping[str, str | int], *, reads: bool, is_secret: bool = False
    ) -> Response:
        named = {**parameters, "application_id": self.application.id}
        return await self._remote.send(self.application.account, method, what, named, reads=reads, is_secret=is_secret)


def _is_item(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("key"), str)


def _turns_of(endpoint: str, account: str, rate: float, clock: Clock) -> TokenBucket:
    """The turns that all stores of this process with the same account share."""
    key = endpoint, account, rate, id(clock)
    shared_limiter = _turns.get(key)
    if shared_limiter is None:
        _turns[key] = shared_limiter = TokenBucket(rate, clock)
    return shared_limiter
