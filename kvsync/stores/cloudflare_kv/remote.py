"""Connection to the API: one client, one quota per token, and the resolved namespaces."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import partial
from hashlib import sha256
from operator import itemgetter
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from kvsync.errors import PermanentError, TransientError
from kvsync.http.client_options import ClientOptions
from kvsync.http.failures import explained, understood
from kvsync.http.model import Request, Response
from kvsync.http.paging import ListingPage, walk
from kvsync.http.quota import Quota
from kvsync.http.rate_limits import SharedLimiters
from kvsync.stores.cloudflare_kv.api import (
    ENDPOINT,
    TITLE_TAKEN,
    ErrorMapper,
    Targets,
    accounts_target,
    error_codes,
)
from kvsync.stores.cloudflare_kv.auth import credentials_of
from kvsync.stores.cloudflare_kv.listing import Item
from kvsync.stores.cloudflare_kv.lists import AccountFinder, read_list
from kvsync.stores.namespaces import NamespaceResolver, Resolved
from kvsync.stores.remote_store import Connection

MOST_CALLS, WINDOW = 1200, 300
"""Calls that a user may make in so many seconds, with all tokens and programs together."""

_JSON: Final = {"Content-Type": "application/json"}
_quotas = SharedLimiters[Quota]()
"""By endpoint, token and clock."""


class Remote:
    """Connects on first use. `open` must be awaited before the first call. Raises AuthError for a credential that cannot be
    read."""

    def __init__(self, connection: Connection) -> None:
        config, clock, options = connection.config, connection.clock, connection.config.options
        endpoint = config.endpoint or ENDPOINT
        self.label, self.clock, self.connection = connection.label, clock, connection
        self.root, self._account_id = urlsplit(endpoint).path.rstrip("/"), options.get("account_id")
        self.credentials = credentials = credentials_of(options, connection.context, self.label)
        account = sha256(f"{endpoint} {credentials.text()}".encode()).hexdigest()[:16]
        self.quota = _quotas.get((account, id(clock)), lambda: Quota(MOST_CALLS, WINDOW, clock))
        mapper = ErrorMapper(self.label, credentials, clock)
        self.client = connection.client(
            endpoint,
            ClientOptions(
                credentials=credentials, error_mapper=mapper, quota=self.quota, account=f"cloudflare {account}"
            ),
        )
        self._accounts = AccountFinder(self.label, options.get("account") or "", self._list_accounts)
        self.targets = Targets(self.root, self._account_id or "")
        self.namespaces = Namespaces(self)

    async def open(self) -> str:
        """Find the account, and return its id. Raises StoreError."""
        if self._account_id is None:
            self._account_id = await self._accounts.find()
            self.targets = Targets(self.root, self._account_id)
        return self._account_id.lower()

    async def post(
        self, namespace: str, target: str, what: str, data: Any, expects: Sequence[int] = (200,)
    ) -> Response:
        """Send a reading request with a body. Raises StoreError."""
        body = json.dumps(data, ensure_ascii=False).encode()
        call = Request("POST", target, what, _JSON, body, expects, reads=True, is_json=True)
        return await self.namespaces.ask(namespace, call)

    def writing(self, method: str, target: str, what: str, body: bytes, *, is_secret: bool = False) -> Request:
        """A request that writes."""
        return Request(method, target, what, _JSON, body, is_json=True, is_secret=is_secret)

    async def pages(self, namespace: str, id_: str, prefix: str = "") -> AsyncGenerator[list[Item], None]:
        """Yield the entries whose names begin with `prefix`, in pages, in the order of their bytes. Pages can be empty. Raises
        StoreError."""
        what = f"listing {namespace}"

        async def fetch(cursor: str) -> ListingPage[list[Item], str]:
            call = Request("GET", self.targets.keys(id_, prefix, cursor), what, is_json=True)
            answer = await self.namespaces.ask(namespace, call)
            with understood(self.label, what, "a list of keys", answer):
                items, following = _keys_page(answer.data)
                begins_with = items[0]["name"] if items else None
                return ListingPage(items, len(items), len(answer.body), following, begins_with=begins_with)

        async with aclosing(walk("", fetch, self.connection.listing_limit(what))) as pages:
            async for page in pages:
                yield page.content

    async def is_empty(self, namespace: str, id_: str) -> bool:
        """True if a listing of the whole namespace shows nothing. Raises StoreError."""
        return not any([page async for page in self.pages(namespace, id_)])

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self.client.aclose()

    async def _list_accounts(self) -> Mapping[str, str]:
        what, target = "listing the accounts", partial(accounts_target, self.root)
        return (await read_list(self.client, self.connection, what, target, ("id", "name"))).items


class Namespace(NamedTuple):
    """A namespace of the account."""

    id: str
    title: str


class Namespaces(NamespaceResolver[Namespace]):
    """A name is a key of `namespace_ids`, else a title, else an id. A list of all namespaces serves every name for a minute."""

    def __init__(self, remote: Remote) -> None:
        super().__init__(remote.client, remote.clock)
        options = remote.connection.config.options
        self._remote, self._label = remote, remote.label
        self._configured = {name: id_.lower() for name, id_ in (options.get("namespace_ids") or {}).items()}
        self._or_file = f" or {options['wrangler_file']}" if options.get("wrangler_file") else ""
        self._creates, self._jurisdiction = bool(options.get("create_namespaces")), options.get("jurisdiction")
        self._titles: dict[str, str] = {}
        self._by_id: dict[str, str] = {}
        self._pages = 1
        self._listed_at: float | None = None
        self._looking = asyncio.Lock()

    async def names(self) -> list[str]:
        """The titles of all namespaces, and the names of those that are configured by id, sorted. Raises StoreError."""
        names = {id_: name for name, id_ in self._configured.items()}
        return sorted({names.get(id_, title) for title, id_ in (await self.titles()).items()})

    async def titles(self) -> dict[str, str]:
        """Title to id, of all namespaces of the account, as of now. Raises StoreError."""
        target = self._remote.targets.namespaces
        listed = await read_list(
            self._client, self._remote.connection, "listing the namespaces", target, ("title", "id")
        )
        found, self._pages = listed
        self._titles, self._by_id = found, {id_: title for title, id_ in found.items()}
        self._listed_at = self._clock.monotonic()
        return found

    async def find(self, name: str) -> Namespace | None:
        """Find a namespace. A configured id that was never looked up is used as it is."""
        if name in self._configured and name not in self._resolved and name not in self._gone:
            return Namespace(self._configured[name], "")
        return await super().find(name)

    async def _look_up(self, name: str, known: Namespace | None, *, refresh: bool) -> Resolved[Namespace]:
        async with self._looking:
            is_listed = not refresh and self._is_fresh(self._listed_at)
            if not is_listed and (refresh or len(self._resolved) < self._pages):
                id_ = known.id if known is not None else self._configured.get(name)
                found = None if id_ is None else await self._by_own_id(name, id_)
                if found is not None:
                    return Resolved(found, self._clock.monotonic())
            if not is_listed:
                await self.titles()
            assert self._listed_at is not None
            return Resolved(await self._listed(name), self._listed_at)

    async def _by_own_id(self, name: str, id_: str) -> Namespace | None:
        """The namespace with this id, None if it does not exist or `name` no longer leads to it."""
        what = f"looking up the namespace {name}"
        answer = await self._get(self._remote.targets.namespace(id_), what)
        if answer is None:
            return None
        with understood(self._label, what, "a namespace", answer):
            found = _namespace(answer.data["result"])
        return found if name in self._configured or name in found else None

    async def _listed(self, name: str) -> Namespace | None:
        """What the list of namespaces says. Raises PermanentError if the namespace is missing and must not be created."""
        id_ = self._configured.get(name) or self._titles.get(name, name)
        if id_ in self._by_id:
            return Namespace(id_, self._by_id[id_])
        if name in self._configured:
            raise PermanentError(f"{self._label}: there is no namespace {id_} in this account; {self._why_gone(name)}")
        if self._creates:
            return None
        way = "create it, set create_namespaces: true, or name its id in namespace_ids"
        meant = await self._nearest(name, self._titles)
        raise PermanentError(f'{self._label}: there is no namespace "{name}" in this account{meant}; {way}')

    async def _make(self, name: str) -> Namespace:
        wanted = {"title": name} | ({"jurisdiction": self._jurisdiction} if self._jurisdiction else {})
        body, what = json.dumps(wanted).encode(), f"creating the namespace {name}"
        call = Request("POST", self._remote.targets.namespaces(), what, _JSON, body, expects=(200, 400))
        answer = await self._client.send(call)
        if answer.status == 200:
            with suppress(LookupError, TypeError):  # then it was created all the same, and is listed
                made = _namespace(answer.problem()["result"])
                self._titles[name], self._by_id[made.id] = made.id, name
                return made
        elif TITLE_TAKEN not in error_codes(answer):  # else another process was faster
            raise PermanentError(explained(self._label, call, answer))
        found = (await self.titles()).get(name)
        if found is None:
            raise TransientError(f"{self._label}: {what}: it already exists, but is not listed yet; try again later")
        return Namespace(found, name)

    async def delete(self, name: str, found: Namespace) -> str | None:
        """As the resolver does; a deleted namespace is in no list any more."""
        stays = await super().delete(name, found)
        if stays is None:
            self._titles.pop(found.title, None)
            self._by_id.pop(found.id, None)
        return stays

    async def rename(self, name: str, found: Namespace, new: str) -> None:
        """As the resolver does; the titles are listed again before the next use."""
        await super().rename(name, found, new)
        self._listed_at = None

    def _deletion(self, name: str, found: Namespace) -> Request:
        return Request(
            "DELETE", self._remote.targets.namespace(found.id), f"deleting the namespace {name}", is_json=True
        )

    def _renaming(self, name: str, found: Namespace, new: str) -> Request:
        target, what = self._remote.targets.namespace(found.id), f"renaming the namespace {name} to {new}"
        return self._remote.writing("PUT", target, what, json.dumps({"title": new}).encode())

    def _why_gone(self, name: str) -> str:
        if name not in self._configured:
            return super()._why_gone(name)
        return f"correct namespace_ids.{name}{self._or_file}"


def _keys_page(data: Any) -> tuple[list[Item], str | None]:
    """The items of a page, and the cursor of the next one. Raises TypeError, LookupError for anything else."""
    items, info = data.get("result"), data.get("result_info") or {}
    if items is None and data.get("success") is True and not info.get("count"):
        items = []
    cursor = info.get("cursor") or None
    if not isinstance(items, list) or not set(map(type, map(_name_of, items))) <= {str}:
        raise TypeError("the names of a page must be text")
    if not isinstance(cursor, str | None):
        raise TypeError("a cursor must be text")
    return items, cursor


_name_of: Final = itemgetter("name")


def _namespace(result: Any) -> Namespace:
    """A namespace as the API describes it. Raises TypeError, LookupError for anything else."""
    id_, title = result["id"], result["title"]
    if not (isinstance(id_, str) and isinstance(title, str)):
        raise TypeError("id and title must be text")
    return Namespace(id_, title)
