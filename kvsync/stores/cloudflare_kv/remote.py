"""Connection to the API: one client, one quota per token, and the resolved namespaces."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from hashlib import sha256
from operator import itemgetter
from typing import Any, Final, TypeGuard
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from kvsync.config.model import StoreConfig
from kvsync.errors import TransientError
from kvsync.http.client import Client, ClientLimits, ClientOptions
from kvsync.http.model import Request, Response
from kvsync.http.paging import ListingLimit
from kvsync.http.quota import Quota
from kvsync.model.health import Traffic
from kvsync.stores.base import StoreContext
from kvsync.stores.cloudflare_kv.answers import ErrorMapper, NamespaceGoneError
from kvsync.stores.cloudflare_kv.listing import Item
from kvsync.stores.cloudflare_kv.namespaces import Namespaces
from kvsync.stores.cloudflare_kv.requests import Targets
from kvsync.stores.cloudflare_kv.token import ApiToken
from kvsync.util.clock import Clock

ENDPOINT: Final = "https://api.cloudflare.com/client/v4"
MOST_CALLS, WINDOW = 1200, 300
"""Calls that a user may make in so many seconds, with all tokens and programs together."""

_JSON: Final = {"Content-Type": "application/json"}
_quotas: WeakValueDictionary[tuple[str, bytes, int], Quota] = WeakValueDictionary()


class Remote:
    """Connects on first use. Raises AuthError for a token that cannot be read."""

    def __init__(self, config: StoreConfig, context: StoreContext, traffic: Traffic, most: int) -> None:
        endpoint, options = config.endpoint or ENDPOINT, config.options
        self.where, self.clock, self._limits = f"store {config.name}", context.clock, context.limits
        self.targets = Targets(urlsplit(endpoint).path.rstrip("/"), options["account_id"])
        self.token = ApiToken(self.where, lambda: context.resolve(options["token"]))
        self.quota = _quota(endpoint, self.token.text(), context.clock)
        self._client = Client(
            self.where,
            endpoint,
            context.clock,
            traffic,
            ClientOptions(
                limits=ClientLimits(config.timeout, most, answers=context.limits),
                credentials=self.token,
                error_mapper=ErrorMapper(self.where, self.token, context.clock),
                quota=self.quota,
                read_only=context.read_only,
                fence=context.fence,
            ),
        )
        self.namespaces = Namespaces(
            self.where,
            self.send,
            self.targets,
            options.get("namespace_ids") or {},
            context.clock,
            creates=bool(options.get("create_namespaces")),
        )

    async def send(self, call: Request) -> Response:
        """Send a call. Raises StoreError."""
        return await self._client.send(call)

    async def ask(self, namespace: str, call: Request) -> Response:
        """Send a call about a namespace that is known by this name. Raises StoreError."""
        try:
            return await self._client.send(call)
        except NamespaceGoneError as error:
            raise self.namespaces.gone(namespace, error) from None

    async def post(
        self, namespace: str, target: str, what: str, data: Any, expects: Sequence[int] = (200,)
    ) -> Response:
        """Ask with a body, without changing anything. Raises StoreError."""
        body = json.dumps(data, ensure_ascii=False).encode()
        call = Request("POST", target, what, _JSON, body, expects, reads=True, is_json=True)
        return await self.ask(namespace, call)

    def writing(self, method: str, target: str, what: str, body: bytes, *, is_secret: bool = False) -> Request:
        """A call that writes, to be asked once."""
        return Request(method, target, what, _JSON, body, is_json=True, is_secret=is_secret)

    async def pages(self, namespace: str, id_: str, prefix: str = "") -> AsyncGenerator[list[Item], None]:
        """The entries whose names begin with `prefix`, in pages, in the order of their bytes. A page may be empty and not the
        last. Raises StoreError."""
        what = f"listing {namespace}"
        cursor, seen, limit = "", set[str](), ListingLimit(f"{self.where}: {what}", self._limits, self.clock)
        while cursor not in seen:
            seen.add(cursor)
            answer = await self.ask(
                namespace, Request("GET", self.targets.keys(id_, prefix, cursor), what, is_json=True)
            )
            items, cursor = self._page(answer, what)
            limit.count(len(items), len(answer.body), is_last=not cursor)
            yield items
            if not cursor:
                return
        raise TransientError(f"{self.where}: {what} failed: the pages form a loop")

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self._client.aclose()

    def _page(self, answer: Response, what: str) -> tuple[list[Item], str]:
        data = answer.data if isinstance(answer.data, dict) else {}
        items, info = data.get("result"), data.get("result_info")
        info = info if isinstance(info, dict) else {}
        if items is None and data.get("success") is True and not info.get("count"):
            items = []
        cursor = info.get("cursor") or ""
        if not isinstance(cursor, str) or not _are_keys(items):
            raise TransientError(f"{self.where}: {what} failed: the response is not a list of keys; check the endpoint")
        return items, cursor


def _are_keys(items: Any) -> TypeGuard[list[Item]]:
    try:
        return isinstance(items, list) and set(map(type, map(_name_of, items))) <= {str}
    except (KeyError, TypeError):
        return False


_name_of = itemgetter("name")


def _quota(endpoint: str, token: str, clock: Clock) -> Quota:
    """The quota that all stores of this process with the same token share."""
    key = endpoint, sha256(token.encode()).digest(), id(clock)
    quota = _quotas.get(key)
    if quota is None:
        _quotas[key] = quota = Quota(MOST_CALLS, WINDOW, clock)
    return quota
