"""Raw HTTP to an emulator of Apify key-value stores."""

from __future__ import annotations

import io
import zipfile
from typing import Any
from urllib.parse import quote

import httpx

from kvsync.emulators.server import Running

AWKWARD = ("A", "a", "...", "-", "_", "!'()", "a.b", "x" * 256, "0", "..a")
"""Keys that are allowed, and that someone may stumble over."""

REFUSED = ("%2E", "%2E%2E", "x" * 257, "a%2Fb", "a%20b", "%C3%A9", "a:b", "a@b", "a%25b", "%2B")
"""Keys that are not, as they stand in a path."""


class ApifyApi(httpx.Client):
    """Paths are below `/v2/key-value-stores`; those of `at` are below the store in use. `token` None sends none."""

    def __init__(self, server: Running, *, token: str | None = "APIFY_TOKEN", **options: Any) -> None:
        headers = {"Authorization": f"Bearer {server.env[token]}"} if token else {}
        super().__init__(
            base_url=f"{server.url}/v2/key-value-stores",
            headers=headers | {"Accept-Encoding": "identity"},
            verify=False,
            trust_env=False,
            **options,
        )
        self.origin = server.url
        self.store = ""

    def at(self, path: str = "") -> str:
        """The path of something in the store in use."""
        return f"/{self.store}{path}"

    def record(self, key: str) -> str:
        """The path of a record."""
        return self.at(f"/records/{quote(key, safe='')}")

    def create(self, name: str | None = None, schema: Any = None) -> dict[str, Any]:
        """Get or create a store that must be given."""
        params = {"name": name} if name else None
        answer = self.post("", params=params, json={"schema": schema} if schema else None)
        assert answer.status_code in (200, 201), answer.text
        found: dict[str, Any] = data(answer)
        return found

    def use(self, store: str) -> None:
        """Let the following calls be about this store."""
        self.store = store

    def set(self, key: str, body: bytes | str = b"v", **headers: str) -> None:
        """PUT a record that must be taken; in names of headers `_` represents `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.put(self.record(key), content=body, headers=named)
        assert (answer.status_code, answer.json()) == (201, {}), answer.text

    def keys(self, **params: Any) -> list[str]:
        """The keys of all pages."""
        found: list[str] = []
        start: dict[str, str] = {}
        while True:
            page = data(self.get(self.at("/keys"), params=params | start))
            found += [item["key"] for item in page["items"]]
            if page["nextExclusiveStartKey"] is None:
                return found
            start = {"exclusiveStartKey": page["nextExclusiveStartKey"]}

    def zip(self, **params: Any) -> dict[str, bytes]:
        """The members of the archive of all records."""
        answer = self.get(self.at("/records"), params=params)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip"), answer.text
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Talk to `/_emulator/`."""
        answer = self.request(method, f"{self.origin}/_emulator/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


def data(answer: httpx.Response) -> Any:
    """What a success holds in its envelope."""
    assert answer.status_code in (200, 201), answer.text
    document = answer.json()
    assert list(document) == ["data"]
    return document["data"]


def error(answer: httpx.Response) -> tuple[int, str]:
    """Status and type of a failure in its envelope."""
    document = answer.json()
    assert list(document) == ["error"]
    assert set(document["error"]) == {"type", "message"}
    return answer.status_code, document["error"]["type"]
