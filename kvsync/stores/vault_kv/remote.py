"""Connection to the API: which mount the configured path is, reads of one secret, and listings, which never read values.

OpenBao returns all paths with their metadata in one response. Vault lists one folder at a time, without metadata: then each
folder and each secret costs a request, made concurrently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from kvsync.errors import AuthError, PermanentError, TransientError
from kvsync.http.client import Client
from kvsync.http.client_options import ClientLimits, ClientOptions
from kvsync.http.clock_skew import ahead_of_server
from kvsync.http.failures import understood
from kvsync.http.model import Response
from kvsync.http.paging import ListingLimit
from kvsync.model.entry import Actual, Identity
from kvsync.model.health import Traffic
from kvsync.stores.remote_store import Connection
from kvsync.stores.route import route_of
from kvsync.stores.vault_kv.api import ErrorMapper, Paths, data_of, errors_of, reading
from kvsync.stores.vault_kv.auth import VaultToken, sign_in_of
from kvsync.stores.vault_kv.secrets import Secret, current_of, needs_history, secret_of, to_actual, to_content
from kvsync.util.concurrency import gather_or_cancel

MOUNT: Final = "secret"
_ROUNDS: Final = 5
_FRESH: Final = 60.0
"""Seconds for which the id of the mount is believed."""

_AT_ONCE: Final = 256
"""Folders, or secrets, that are asked for together."""

_ANY: Final = range(200, 500)


class Remote:
    """Connects on first use."""

    def __init__(self, connection: Connection) -> None:
        config, context = connection.config, connection.context
        options = config.options
        address = str(options.get("address") or config.endpoint)
        self.where, self.clock, self.connection = connection.label, connection.clock, connection
        self.paths = Paths(urlsplit(address).path, options.get("mount") or MOUNT)
        hint = f"the token is not valid, or its policies do not allow this on {self.paths.mount}/"
        mapper = ErrorMapper(self.where, hint)
        route = route_of(config, context, options.get("ca"))
        quiet = ClientOptions(ClientLimits(config.timeout, 2), error_mapper=mapper, route=route)
        self._login = Client(self.where, address, context.clock, Traffic(), quiet)
        sign_in = sign_in_of(options, context, self.where)
        self._token = VaultToken(self._login, self.paths, sign_in, context.clock)
        self.client = connection.client(
            address, ClientOptions(credentials=self._token, error_mapper=mapper, route=route)
        )
        self._mount: tuple[str, float] | None = None
        self._has_trees: bool | None = None

    async def mount(self, *, refresh: bool) -> str:
        """The id of the mount, as of at most a minute ago; with `refresh`, as of now. Raises PermanentError for what is not KV
        version 2, StoreError."""
        now = self.clock.monotonic()
        if self._mount is None or refresh or now - self._mount[1] >= _FRESH:
            what = f"looking up the mount {self.paths.mount}/"
            answer = await self.client.send(reading(self.paths.about_mount(), what, (200,)))
            self._mount = self._identified(answer, what), now
        return self._mount[0]

    async def metadata(self, path: str, limit: ListingLimit | None = None) -> Secret | None:
        """The metadata of a secret, None where there is none; its bytes count towards `limit`. Raises StoreError."""
        what = f"reading the metadata of {path}"
        answer = await self.client.send(reading(self.paths.metadata(path), what))
        if answer.status == 404:
            self.check_missing(answer, what)
            return None
        if limit is not None:
            limit.receive(len(answer.body))
        with understood(self.where, what, answer=answer):
            return secret_of(data_of(answer), self.seen_at(answer))

    async def entry(self, identity: Identity, path: str) -> Actual | None:
        """A secret with its value, None where its current version cannot be read. Raises StoreError."""
        what = f"reading {path}"
        for _ in range(_ROUNDS):
            answer = await self.client.send(reading(self.paths.data(path), what))
            if answer.status == 404:
                self.check_missing(answer, what)
                return None
            with understood(self.where, what, answer=answer):
                found = data_of(answer)
                content, secret = to_content(found["data"]), current_of(found["metadata"], self.seen_at(answer))
            full = await self.metadata(path) if needs_history(secret) else secret
            if full is not None and full.etag == secret.etag:
                return to_actual(identity, full, content)
        raise TransientError(f"{self.where}: {what} failed: the secret changed each time it was read; try again")

    async def list_secrets(self, prefix: str, what: str) -> dict[str, Secret]:
        """All secrets whose path begins with `prefix`, deleted ones too. Raises StoreError."""
        limit = self.connection.listing_limit(what)
        folder = prefix[: prefix.rfind("/") + 1]
        found = await self._tree(folder, what, limit) if self._has_trees is not False else None
        if found is None:
            paths = [path for path in await self._walk(folder, prefix, what, limit) if path.startswith(prefix)]
            found = await self._metadata_of(paths, limit)
        return {path: secret for path, secret in found.items() if path.startswith(prefix)}

    async def list_paths(self, prefix: str, what: str) -> list[str]:
        """All paths that begin with `prefix`. Raises StoreError."""
        folder = prefix[: prefix.rfind("/") + 1]
        return await self._walk(folder, prefix, what, self.connection.listing_limit(what))

    def seen_at(self, answer: Response) -> float:
        """The moment of an answer, by the later one of both clocks: what the server just deleted is deleted here too."""
        now = self.clock.now()
        ahead = ahead_of_server(answer, now)
        return now if ahead is None else max(now, now - ahead + 1)

    def check_missing(self, answer: Response, what: str) -> None:
        """Raise PermanentError for a 404 that says more than that there is nothing: no such mount, or no KV version 2."""
        if errors := errors_of(answer):
            said = " ".join(errors[0].split())[:200]
            raise PermanentError(f"{self.where}: {what} failed: {said}; check mount, which must be KV version 2")
        if not answer.problem():
            raise PermanentError(f"{self.where}: {what} failed: {answer.host} is not Vault or OpenBao; check address")

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self._token.aclose()
        await self.client.aclose()
        await self._login.aclose()

    async def _metadata_of(self, paths: Sequence[str], limit: ListingLimit) -> dict[str, Secret]:
        """The metadata of these secrets; missing ones are left out."""
        found: dict[str, Secret] = {}
        for start in range(0, len(paths), _AT_ONCE):
            part = paths[start : start + _AT_ONCE]
            secrets = await gather_or_cancel(self.metadata(path, limit) for path in part)
            found |= {path: secret for path, secret in zip(part, secrets, strict=True) if secret is not None}
            limit.count(len(part), 0, is_last=start + _AT_ONCE >= len(paths))
        return found

    async def _tree(self, folder: str, what: str, limit: ListingLimit) -> dict[str, Secret] | None:
        """Everything below a folder, None where the server or the policy of the token does not offer that."""
        try:
            answer = await self.client.send(reading(self.paths.tree(folder), what, _ANY))
        except AuthError:
            self._has_trees = False
            return None
        if answer.status != 200:
            self._has_trees = False
            return None
        with understood(self.where, what, answer=answer):
            infos: Mapping[str, Any] = _infos(answer.problem())
            now = self.seen_at(answer)
            found = {f"{folder}{name}": secret_of(one, now) for name, one in infos.items() if not name.endswith("/")}
        limit.count(len(found), len(answer.body), is_last=True)
        return found

    async def _walk(self, folder: str, prefix: str, what: str, limit: ListingLimit) -> list[str]:
        """All paths below a folder that may begin with `prefix`, folder by folder."""
        found: list[str] = []
        folders = [folder]
        while folders:
            now, folders = folders[:_AT_ONCE], folders[_AT_ONCE:]
            for parent, names in zip(
                now, await gather_or_cancel(self._names(one, what, limit) for one in now), strict=True
            ):
                paths = [f"{parent}{name}" for name in names]
                folders += [path for path in paths if path.endswith("/") and _may_hold(path, prefix)]
                found += [path for path in paths if not path.endswith("/") and path.startswith(prefix)]
                limit.count(len(names), 0, is_last=not folders)
        return found

    async def _names(self, folder: str, what: str, limit: ListingLimit) -> list[str]:
        answer = await self.client.send(reading(self.paths.folder(folder), what))
        if answer.status == 404:
            self.check_missing(answer, what)
            return []
        limit.receive(len(answer.body))
        with understood(self.where, what, answer=answer):
            names = data_of(answer)["keys"]
            if not all(isinstance(name, str) and name.strip("/") for name in names):
                raise TypeError("the name of a secret must be text")
        return list(names)

    def _identified(self, answer: Response, what: str) -> str:
        with understood(self.where, what, answer=answer):
            data = data_of(answer)
            kind, version, found = data["type"], (data.get("options") or {}).get("version"), str(data["uuid"])
        if kind != "kv" or version != "2":
            shown = f"KV version {version or 1}" if kind == "kv" else f"of type {kind}"
            raise PermanentError(f"{self.where}: the mount {self.paths.mount}/ is {shown}; kvsync needs KV version 2")
        return found


def _infos(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata by path. Where there is nothing, `data` is empty. Raises LookupError for what is not such an answer."""
    data = answer["data"]
    found: Mapping[str, Any] = data["key_info"] if data or "request_id" not in answer else {}
    return found


def _may_hold(folder: str, prefix: str) -> bool:
    return folder.startswith(prefix) or prefix.startswith(folder)
