"""URLs and queries of the API, under `/v2/key-value-stores`."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from kvsync.planning.audit import UNUSABLE_KEYS

ENDPOINT: Final = "https://api.apify.com"
"""Where the API is, unless the configuration says otherwise."""

PAGE: Final = 1000
"""Keys, or stores, that one call lists."""

KEY: Final = r"[a-zA-Z0-9!\-_.'()]+"
"""What a key is made of."""

LEDGER_KEY: Final = "kvsync.ledger.json"
"""The record that holds the ledger. No entry may have its key, wherever the ledger is kept."""

_VERSION: Final = "/v2"


class Targets:
    """Builds what goes on the request line. `root` is the path before `/v2`, most often empty."""

    def __init__(self, root: str) -> None:
        base = root_of(root) + _VERSION
        self._stores = f"{base}/key-value-stores"
        self.me = f"{base}/users/me"

    def stores(self, offset: int) -> str:
        """The named stores, from the one with this number on."""
        return f"{self._stores}?offset={offset}&limit={PAGE}"

    def make(self, name: str) -> str:
        """A store of this name, which is made unless it exists."""
        return f"{self._stores}?name={quote(name, safe='')}"

    def store(self, id_: str) -> str:
        """One store, by id, `~name` or `username~name`. Raises ValueError for what would make it another path."""
        if id_ in UNUSABLE_KEYS:
            raise ValueError(f'the store "{id_}" cannot be part of a URL')
        return f"{self._stores}/{quote(id_, safe='~')}"

    def keys(self, id_: str, prefix: str = "", start: str | None = None) -> str:
        """Keys that begin with `prefix`, after `start`."""
        query = f"limit={PAGE}"
        query += f"&prefix={quote(prefix, safe='')}" if prefix else ""
        query += f"&exclusiveStartKey={quote(start, safe='')}" if start is not None else ""
        return f"{self.store(id_)}/keys?{query}"

    def records(self, id_: str, prefix: str = "") -> str:
        """All records whose keys begin with `prefix`, as a ZIP."""
        return f"{self.store(id_)}/records" + (f"?prefix={quote(prefix, safe='')}" if prefix else "")

    def record(self, id_: str, key: str, *, raw: bool = False) -> str:
        """One record; `raw` asks for its bytes as they are, which HTML does not come in otherwise. Raises ValueError for a key
        that would make it another path: one that is `..` would name the store as a whole."""
        if key in UNUSABLE_KEYS:
            raise ValueError(f'the key "{key}" cannot be part of a URL')
        return f"{self.store(id_)}/records/{quote(key, safe='')}" + ("?attachment=1" if raw else "")


def root_of(path: str) -> str:
    """The path of an endpoint without the API's version, with which it may end."""
    return path.rstrip("/").removesuffix(_VERSION)
