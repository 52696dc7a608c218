"""A Workers KV account for tests: the emulator in a thread, and plain HTTP as another program that knows nothing of kvsync."""

from __future__ import annotations

import json
import urllib.error
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kvsync.config.model import Credential, CredentialKind, StoreConfig
from kvsync.emulators.server import Running
from kvsync.stores.base import Store, StoreContext
from kvsync.stores.registry import open_store
from kvsync.util.clock import Clock
from tests.stores.emulated import ContainerService, as_json, ask

TOKEN = Credential(CredentialKind.ENV, "CLOUDFLARE_API_TOKEN")


class Service(ContainerService):
    """One running emulator."""

    type = "cloudflare-kv"

    def __init__(self, server: Running) -> None:
        super().__init__(server)
        self.account, self.token = self.env["CLOUDFLARE_ACCOUNT_ID"], self.env[TOKEN.name]
        self._namespaces = f"{self.url}/accounts/{self.account}/storage/kv/namespaces"
        self.ids: dict[str, str] = {}

    def open_store(self, *arguments: Any, **options: Any) -> Store:
        """A connection of kvsync's to it."""
        return cloudflare_store(self, *arguments, **options)

    def requests(self) -> dict[str, int]:
        """Requests since `clear_requests` by method and route, below the namespaces."""
        counts = self.control("GET", "stats")["routes"]
        return {_short(route): count for route, count in counts.items()}

    def make(self, title: str) -> str:
        """Make a namespace; gives its id."""
        found: str = self.api("POST", "", {"title": title})["result"]["id"]
        return found

    def remove(self, title: str) -> None:
        """Delete a namespace."""
        self.api("DELETE", f"/{self.ids.pop(title)}")

    def rename(self, title: str, new: str) -> None:
        """Give a namespace another title."""
        self.ids[new] = self.ids.pop(title)
        self.api("PUT", f"/{self.ids[new]}", {"title": new})

    def titles(self) -> list[str]:
        """Titles of all namespaces."""
        return [one["title"] for one in self.api("GET", "?per_page=100")["result"]]

    def put(self, title: str, key: str, value: bytes, **fields: Any) -> None:
        """Write one entry."""
        try:
            pair: dict[str, Any] = {"key": key, "value": value.decode()}
        except UnicodeDecodeError:
            pair = {"key": key, "value": b64encode(value).decode(), "base64": True}
        self.put_all(title, [pair | fields])

    def put_all(self, title: str, pairs: Sequence[Mapping[str, Any]]) -> None:
        """Write many."""
        for start in range(0, len(pairs), 10_000):
            self.api("PUT", f"/{self.ids[title]}/bulk", pairs[start : start + 10_000])

    def delete(self, title: str, *keys: str) -> None:
        """Delete some."""
        self.api("POST", f"/{self.ids[title]}/bulk/delete", keys)

    def value(self, title: str, key: str) -> bytes | None:
        """One value."""
        try:
            return self._send("GET", f"/{self.ids[title]}/values/{quote(key, safe='')}", None)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 404:
                raise
            return None

    def listed(self, title: str) -> dict[str, dict[str, Any]]:
        """All keys, as the API lists them."""
        found: dict[str, dict[str, Any]] = {}
        cursor = ""
        while True:
            page = self.api("GET", f"/{self.ids[title]}/keys?limit=1000&cursor={quote(cursor, safe='')}")
            found |= {one["name"]: one for one in page["result"]}
            cursor = page["result_info"].get("cursor") or ""
            if not cursor:
                return found

    def values(self, title: str) -> dict[str, bytes | None]:
        """All entries."""
        return {key: self.value(title, key) for key in self.listed(title)}

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the API itself."""
        return json.loads(self._send(method, path, as_json(body)))

    def _send(self, method: str, path: str, body: bytes | None) -> bytes:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        return ask(method, self._namespaces + path, body, headers)[1]


class Bare(Service):
    """Just enough of a service, at any origin, to connect to."""

    def __init__(self, origin: str) -> None:
        self.url, self.account, self.token = f"{origin}/client/v4", "0" * 32, "a-token-of-nobody"


def cloudflare_store(
    found: Service,
    clock: Clock | None = None,
    *,
    read_only: bool = False,
    options: Mapping[str, Any] | None = None,
    token: str | None = None,
    **fields: Any,
) -> Store:
    """A connection to a service."""
    given = {"account_id": found.account, "token": TOKEN} | dict(options or {})
    context = StoreContext(Path(), None, lambda _: token or found.token, clock or Clock(), read_only, "conformance")
    return open_store(StoreConfig("edge", "cloudflare-kv", given, endpoint=found.url, **fields), context)


def _json(body: Any) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def _ask(method: str, url: str, body: bytes | None, headers: Mapping[str, str] | None = None) -> bytes:
    request = urllib.request.Request(url, body, dict(headers or {}), method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: bytes = answer.read()
        return found


def _short(route: str) -> str:
    method, _, path = route.partition(" ")
    return f"{method} {path.partition('/storage/kv/namespaces')[2] or '/'}"
