"""Connection to the API: one client, one redirect follower, and the resolved key-value stores."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from kvsync.errors import PermanentError
from kvsync.http.client_options import ClientLimits, ClientOptions
from kvsync.http.failures import understood
from kvsync.http.model import Request, Response
from kvsync.http.paging import MOST_NAMESPACE_PAGES, ListingPage, walk
from kvsync.http.redirects import RedirectFollower
from kvsync.stores.apify.api import ENDPOINT, NAME, OTHERS, RECORDS, ApiToken, ErrorMapper, Rate, Targets, looks_like_id
from kvsync.stores.namespaces import NamespaceResolver, Resolved
from kvsync.stores.remote_store import Connection
from kvsync.stores.route import route_of

_JSON: Final = {"Content-Type": "application/json"}


class Remote:
    """Connects on first use."""

    def __init__(self, connection: Connection) -> None:
        config, context = connection.config, connection.context
        endpoint = config.endpoint or ENDPOINT
        parts = urlsplit(endpoint)
        self.label, self.clock, self.connection = connection.label, connection.clock, connection
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.targets = Targets(parts.path)
        token = ApiToken(self.label, lambda: context.resolve(config.options["token"]))
        mapper = ErrorMapper(self.label, token)
        self.client = connection.client(endpoint, ClientOptions(credentials=token, error_mapper=mapper))
        limits = ClientLimits(config.timeout, connection.concurrency, answers=context.limits)
        self.redirects = RedirectFollower(
            self.label,
            self.clock,
            connection.traffic,
            ClientOptions(limits, route=route_of(config, context)),
            allow_insecure=config.allow_insecure,
        )
        self.namespaces = Namespaces(self)

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self.client.aclose()
        await self.redirects.aclose()


@dataclass(frozen=True, slots=True, weakref_slot=True)
class KeyValueStore:
    """One store of the API, by its id, and the rate limits for its records and for other calls. `user` is the id of its owner,
    empty if the server does not say it; `title` is for people. `address` is how it was found."""

    id: str
    records: Rate
    others: Rate
    user: str = ""
    title: str = ""
    address: str = ""


class Namespaces(NamespaceResolver[KeyValueStore]):
    """A name is that of a store of the configured `username`, else of the token's user; `user~name`; or an id."""

    kind = "key-value store"

    def __init__(self, remote: Remote) -> None:
        super().__init__(remote.client, remote.clock)
        options = remote.connection.config.options
        self._remote, self._label, self._targets = remote, remote.label, remote.targets
        self._username: str | None = options.get("username")
        self._creates = bool(options.get("create_namespaces"))
        self._stores: WeakValueDictionary[str, KeyValueStore] = WeakValueDictionary()

    async def names(self) -> list[str]:
        """The names of the account's stores, sorted; those without a name are left out. Raises StoreError."""
        what = "listing the key-value stores"

        async def fetch(offset: int) -> ListingPage[list[Mapping[str, Any]], int]:
            answer = await self._client.send(Request("GET", self._targets.stores(offset), what, is_json=True))
            with understood(self._label, what, "a list of them", answer):
                items, total = _stores_page(answer.data)
            following = offset + len(items)
            is_last = not items or following >= total
            return ListingPage(items, len(items), len(answer.body), None if is_last else following)

        limit = self._remote.connection.listing_limit(what, MOST_NAMESPACE_PAGES)
        return sorted(
            {one["name"] async for page in walk(0, fetch, limit) for one in page.content if self._is_ours(one)}
        )

    async def is_writable(self, name: str) -> bool:
        """Whether the token may write to a store: only then its secret is shown. Raises StoreError."""
        data = await self._found(self._address(name), name)
        return data is not None and bool(data.get("urlSigningSecretKey"))

    async def _look_up(self, name: str, known: KeyValueStore | None, *, refresh: bool) -> Resolved[KeyValueStore]:
        if not re.fullmatch(NAME, name):
            raise PermanentError(
                f'{self._label}: "{name}" is not a valid name of a key-value store (use letters, digits and -)'
            )
        addresses = [self._address(name)] + ([name] if looks_like_id(name) else [])
        if known is not None:  # first where it was found
            addresses.sort(key=lambda address: address != known.address)
        for address in addresses:
            data = await self._found(address, name)
            if data is not None:
                return Resolved(self._keep(name, data, address), self._clock.monotonic())
        way = "check its owner" if "~" in name else "create it, or set create_namespaces: true"
        if self._creates and "~" not in name:
            why = await self.why_not_creatable()
            if why is None:
                return Resolved(None, self._clock.monotonic())
            way = why
        meant = await self._nearest(name)
        raise PermanentError(f'{self._label}: there is no key-value store "{name}"{meant}; {way}')

    async def _make(self, name: str) -> KeyValueStore:
        what = f"creating the key-value store {name}"
        call = Request("POST", self._targets.make(name), what, expects=(200, 201))
        made = self._data(await self._client.send(call), what)
        address = self._address(name)
        if not made.get("userId"):  # as all others see it, so that its place is the same from the beginning
            made = await self._found(address, name) or made
        return self._keep(name, made, address)

    async def why_not_creatable(self) -> str | None:
        """Why the token cannot create a store: `username` is another user than its own. Raises StoreError."""
        if self._username is None:
            return None
        what = "looking up the user of the token"
        data = self._data(await self._client.send(Request("GET", self._targets.me, what, is_json=True)), what)
        if self._username in (data.get("username"), data.get("id")):
            return None
        return f"the token cannot create one of user {self._username}, because it belongs to {data.get('username')}"

    def _deletion(self, name: str, found: KeyValueStore) -> Request:
        what = f"deleting the key-value store {name}"
        return Request("DELETE", self._targets.store(found.id), what, expects=(200, 204))

    def _renaming(self, name: str, found: KeyValueStore, new: str) -> Request:
        what, body = f"renaming the key-value store {name} to {new}", json.dumps({"name": new}).encode()
        return Request("PUT", self._targets.store(found.id), what, _JSON, body, is_json=True)

    def _address(self, name: str) -> str:
        return name if "~" in name else f"{self._username or ''}~{name}"

    async def _found(self, address: str, name: str) -> Mapping[str, Any] | None:
        what = f"looking for the key-value store {name}"
        answer = await self._get(self._targets.store(address), what)
        return None if answer is None else self._data(answer, what)

    def _keep(self, name: str, data: Mapping[str, Any], address: str) -> KeyValueStore:
        if not data.get("name"):
            raise PermanentError(
                f"{self._label}: the key-value store {name} has no name, and Apify deletes unnamed stores; give it a"
                " name in the Console, or create one with a name"
            )
        id_, clock = data["id"], self._clock
        known = self._stores.get(id_) or KeyValueStore(id_, Rate(RECORDS, clock), Rate(OTHERS, clock))
        title = "/".join(filter(None, (_text(data.get("username")), _text(data.get("name")))))
        store = replace(known, user=_text(data.get("userId")), title=title, address=address)
        self._stores[id_] = store
        return store

    def _data(self, answer: Response, what: str) -> Mapping[str, Any]:
        """The object that a response describes. Raises TransientError for a response of another form."""
        with understood(self._label, what, "from this API", answer):
            data = answer.problem()["data"]
            if not (isinstance(data, dict) and isinstance(data["id"], str) and data["id"]):
                raise TypeError("an object has an id")
        return data

    def _is_ours(self, item: Mapping[str, Any]) -> bool:
        """True for a store whose name alone leads to it."""
        is_asked = self._username is None or self._username in (item.get("username"), item.get("userId"))
        return isinstance(item.get("name"), str) and item["name"] != "" and is_asked


def _stores_page(document: Any) -> tuple[list[Mapping[str, Any]], int]:
    """The stores of a page, and the number of all. Raises LookupError, TypeError for anything else."""
    items, total = document["data"]["items"], document["data"]["total"]
    if not (isinstance(items, list) and isinstance(total, int) and all(isinstance(item, dict) for item in items)):
        raise TypeError("a page has items and their total")
    return items, total


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
