"""An Apify account for tests: the emulator in a thread, and plain HTTP as another program that knows nothing of kvsync."""

from __future__ import annotations

import json
import re
import socket
import urllib.error
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from kvsync.config.model import Credential, CredentialKind, StoreConfig
from kvsync.emulators.server import Running
from kvsync.model.answer_limits import AnswerLimits
from kvsync.stores.base import Store, StoreContext
from kvsync.stores.ledger_place import LedgerPlace
from kvsync.stores.registry import open_store
from kvsync.util.clock import Clock
from tests.stores.emulated import ContainerService, as_json, ask

TOKEN = Credential(CredentialKind.ENV, "APIFY_TOKEN")
TEXT = "text/plain; charset=utf-8"
_AT_ONCE = 100


class Service(ContainerService):
    """One running emulator."""

    type = "apify"

    def __init__(self, server: Running) -> None:
        super().__init__(server)
        self.token = self.env[TOKEN.name]
        self._stores = f"{self.url}/v2/key-value-stores"
        self.ids: dict[str, str] = {}

    def open_store(self, *arguments: Any, **options: Any) -> Store:
        """A connection of kvsync's to it."""
        return apify_store(self, *arguments, **options)

    def requests(self) -> dict[str, int]:
        """Requests since `clear_requests` by method and route, below the stores."""
        counts = self.control("GET", "stats")["routes"]
        return {_short(route): count for route, count in counts.items()}

    def make(self, name: str | None, schema: Any = None) -> str:
        """Make a store, without a name for None; gives its id."""
        path = f"?name={quote(name)}" if name else ""
        found: str = self.api("POST", path, {"schema": schema} if schema else None)["data"]["id"]
        return found

    def rename(self, name: str, new: str) -> None:
        """Give a store another name."""
        self.ids[new] = self.ids.pop(name)
        self.api("PUT", f"/{self.ids[new]}", {"name": new})

    def remove(self, name: str) -> None:
        """Delete a store."""
        self._send("DELETE", f"/{self.ids.pop(name)}", None)

    def names(self) -> list[str]:
        """Names of all stores."""
        return [one["name"] for one in self.api("GET", "")["data"]["items"]]

    def put(self, name: str, key: str, value: bytes | str, kind: str = TEXT, **headers: str) -> None:
        """Write one record; in names of headers `_` represents `-`."""
        body = value.encode() if isinstance(value, str) else value
        sent = {"Content-Type": kind} | {header.replace("_", "-"): text for header, text in headers.items()}
        self._send("PUT", f"/{self.ids[name]}/records/{quote(key, safe='')}", body, sent)

    def fill(self, name: str, count: int) -> None:
        """Write so many records that are nobody's; many requests are sent before their answers are awaited."""
        parts = urlsplit(self.url)
        with socket.create_connection((parts.hostname or "", parts.port or 80)) as connection:
            for start in range(0, count, _AT_ONCE):
                numbers = range(start, min(start + _AT_ONCE, count))
                connection.sendall(b"".join(self._filling(name, number) for number in numbers))
                answers = b""
                while answers.count(b"HTTP/1.1 201") < len(numbers) or not answers.endswith(b"{}"):
                    news = connection.recv(65536)
                    assert news, answers
                    answers += news
                    assert not re.search(rb"HTTP/1\.1 (?!201)\d{3}", answers), answers

    def _filling(self, name: str, number: int) -> bytes:
        value = f"value {number}"
        path = f"/v2/key-value-stores/{self.ids[name]}/records/filled-{number:05}"
        return (
            f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.token}\r\nContent-Type: {TEXT}\r\n"
            f"Content-Length: {len(value)}\r\n\r\n{value}"
        ).encode()

    def delete(self, name: str, *keys: str) -> None:
        """Delete some."""
        for key in keys:
            self._send("DELETE", f"/{self.ids[name]}/records/{quote(key, safe='')}", None)

    def record(self, name: str, key: str) -> tuple[bytes, str] | None:
        """Value and content type of a record."""
        try:
            headers, body = self._send("GET", f"/{self.ids[name]}/records/{quote(key, safe='')}?attachment=1", None)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 404:
                raise
            return None
        return body, headers["Content-Type"]

    def value(self, name: str, key: str) -> bytes | None:
        """One value."""
        found = self.record(name, key)
        return None if found is None else found[0]

    def keys(self, name: str) -> dict[str, int]:
        """All keys with their sizes."""
        found: dict[str, int] = {}
        start = ""
        while True:
            page = self.api("GET", f"/{self.ids[name]}/keys?{start}")["data"]
            found |= {one["key"]: one["size"] for one in page["items"]}
            if page["nextExclusiveStartKey"] is None:
                return found
            start = f"exclusiveStartKey={quote(page['nextExclusiveStartKey'], safe='')}"

    def values(self, name: str) -> dict[str, bytes | None]:
        """All entries, without the ledger."""
        return {key: self.value(name, key) for key in self.keys(name) if key != "kvsync.ledger.json"}

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the API itself."""
        return json.loads(self._send(method, path, as_json(body), {"Content-Type": "application/json"})[1])

    def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None = None
    ) -> tuple[Mapping[str, str], bytes]:
        return ask(method, self._stores + path, body, {"Authorization": f"Bearer {self.token}", **(headers or {})})


class Bare(Service):
    """Just enough of a service, at any origin, to connect to."""

    def __init__(self, origin: str) -> None:
        self.url, self.token = origin, "a-token-of-nobody"


def apify_store(
    found: Service,
    clock: Clock | None = None,
    *,
    ledger: str = "local",
    read_only: bool = False,
    options: Mapping[str, Any] | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    limits: AnswerLimits | None = None,
    **fields: Any,
) -> Store:
    """A connection to a service."""
    given = {"token": TOKEN, "ledger": LedgerPlace(ledger)} | dict(options or {})
    context = StoreContext(Path(), None, lambda _: token or found.token, clock or Clock(), read_only, "conformance")
    context = replace(context, limits=limits or AnswerLimits())
    return open_store(StoreConfig("scraper", "apify", given, endpoint=endpoint or found.url, **fields), context)


def _json(body: Any) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def _ask(
    method: str, url: str, body: bytes | None, headers: Mapping[str, str] | None = None
) -> tuple[Mapping[str, str], bytes]:
    request = urllib.request.Request(url, body, dict(headers or {}), method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.headers, answer.read()


def _short(route: str) -> str:
    method, _, path = route.partition(" ")
    return f"{method} {path.partition('/key-value-stores')[2] or path}"
