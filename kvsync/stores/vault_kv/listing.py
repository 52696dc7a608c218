"""Lists the secrets below a path with their metadata, never their values.

OpenBao returns all paths with their metadata in one response. Vault lists one folder at a time, without metadata: then each
folder and each secret costs a request, made concurrently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kvsync.errors import AuthError
from kvsync.http.failures import understood
from kvsync.http.paging import ListingLimit
from kvsync.stores.vault_kv.api import data_of, reading
from kvsync.stores.vault_kv.remote import Remote
from kvsync.stores.vault_kv.secrets import Secret, secret_of
from kvsync.util.concurrency import gather_or_cancel

_AT_ONCE: Final = 256
"""Folders, or secrets, that are asked for together."""

_ANY: Final = range(200, 500)


class Listing:
    """Lists one mount."""

    def __init__(self, remote: Remote) -> None:
        self._remote, self._paths = remote, remote.paths
        self._has_trees: bool | None = None

    async def secrets(self, prefix: str, what: str) -> dict[str, Secret]:
        """All secrets whose path begins with `prefix`, deleted ones too. Raises StoreError."""
        limit = self._remote.connection.listing_limit(what)
        folder = prefix[: prefix.rfind("/") + 1]
        found = await self._tree(folder, what, limit) if self._has_trees is not False else None
        if found is None:
            paths = [path for path in await self._walk(folder, prefix, what, limit) if path.startswith(prefix)]
            found = await self.metadata(paths, what, limit)
        return {path: secret for path, secret in found.items() if path.startswith(prefix)}

    async def paths(self, prefix: str, what: str) -> list[str]:
        """All paths that begin with `prefix`. Raises StoreError."""
        folder = prefix[: prefix.rfind("/") + 1]
        return await self._walk(folder, prefix, what, self._remote.connection.listing_limit(what))

    async def metadata(self, paths: Sequence[str], what: str, limit: ListingLimit | None = None) -> dict[str, Secret]:
        """The metadata of these secrets; missing ones are left out. Raises StoreError."""
        found: dict[str, Secret] = {}
        for start in range(0, len(paths), _AT_ONCE):
            part = paths[start : start + _AT_ONCE]
            secrets = await gather_or_cancel(self._remote.metadata(path) for path in part)
            found |= {path: secret for path, secret in zip(part, secrets, strict=True) if secret is not None}
            if limit is not None:
                limit.count(len(part), 0, is_last=start + _AT_ONCE >= len(paths))
        return found

    async def _tree(self, folder: str, what: str, limit: ListingLimit) -> dict[str, Secret] | None:
        """Everything below a folder, None where the server or the policy of the token does not offer that."""
        try:
            answer = await self._remote.client.send(reading(self._paths.tree(folder), what, _ANY))
        except AuthError:
            self._has_trees = False
            return None
        if answer.status != 200:
            self._has_trees = False
            return None
        with understood(self._remote.where, what, answer=answer):
            infos: Mapping[str, Any] = _infos(answer.problem())
            now = self._remote.seen_at(answer)
            found = {f"{folder}{name}": secret_of(one, now) for name, one in infos.items() if not name.endswith("/")}
        limit.count(len(found), len(answer.body), is_last=True)
        return found

    async def _walk(self, folder: str, prefix: str, what: str, limit: ListingLimit) -> list[str]:
        """All paths below a folder that may begin with `prefix`, folder by folder."""
        found: list[str] = []
        folders = [folder]
        while folders:
            now, folders = folders[:_AT_ONCE], folders[_AT_ONCE:]
            for parent, names in zip(now, await gather_or_cancel(self._names(one, what) for one in now), strict=True):
                paths = [f"{parent}{name}" for name in names]
                folders += [path for path in paths if path.endswith("/") and _may_hold(path, prefix)]
                found += [path for path in paths if not path.endswith("/") and path.startswith(prefix)]
                limit.count(len(names), 0, is_last=not folders)
        return found

    async def _names(self, folder: str, what: str) -> list[str]:
        answer = await self._remote.client.send(reading(self._paths.folder(folder), what))
        if answer.status == 404:
            self._remote.check_missing(answer, what)
            return []
        with understood(self._remote.where, what, answer=answer):
            names = data_of(answer)["keys"]
            if not all(isinstance(name, str) and name.strip("/") for name in names):
                raise TypeError("the name of a secret must be text")
        return list(names)


def _infos(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata by path. Where there is nothing, `data` is empty. Raises LookupError for what is not such an answer."""
    data = answer["data"]
    found: Mapping[str, Any] = data["key_info"] if data or "request_id" not in answer else {}
    return found


def _may_hold(folder: str, prefix: str) -> bool:
    return folder.startswith(prefix) or prefix.startswith(folder)
