"""Paths and queries of the API, under `/accounts/{account_id}/storage/kv/namespaces`."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from kvsync.planning.audit import UNUSABLE_KEYS

PAGE: Final = 1000
"""Entries that one call lists."""

NAMESPACES_A_PAGE: Final = 100


class Targets:
    """Builds what goes on the request line. `root` is the path of the API, such as `/client/v4`."""

    def __init__(self, root: str, account: str) -> None:
        self._namespaces = f"{root}/accounts/{quote(account, safe='')}/storage/kv/namespaces"
        self.token = f"{root}/user/tokens/verify"

    def namespaces(self, page: int | None = None) -> str:
        """All namespaces, a page of them."""
        query = "" if page is None else f"?page={page}&per_page={NAMESPACES_A_PAGE}&order=title"
        return self._namespaces + query

    def namespace(self, id_: str) -> str:
        """One namespace."""
        return self._of(id_)

    def keys(self, namespace: str, prefix: str = "", cursor: str = "") -> str:
        """The names that begin with `prefix`, from `cursor` on."""
        query = f"limit={PAGE}"
        query += f"&prefix={quote(prefix, safe='')}" if prefix else ""
        query += f"&cursor={quote(cursor, safe='')}" if cursor else ""
        return f"{self._of(namespace)}/keys?{query}"

    def bulk(self, namespace: str, verb: str = "") -> str:
        """Many entries: to write, or with the verbs `get` and `delete`."""
        return f"{self._of(namespace)}/bulk" + (f"/{verb}" if verb else "")

    def one(self, namespace: str, part: str, name: str) -> str:
        """`values` or `metadata` of one entry. Raises ValueError for a name that would make it another path."""
        if name in UNUSABLE_KEYS:
            raise ValueError(f'the key "{name}" cannot be part of a URL')
        return f"{self._of(namespace)}/{part}/{quote(name, safe='')}"

    def _of(self, namespace: str) -> str:
        return f"{self._namespaces}/{quote(namespace, safe='')}"
