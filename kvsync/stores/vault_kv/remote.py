"""Connection to the API: one client, one token, and which mount the configured path is."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from kvsync.errors import PermanentError, TransientError
from kvsync.http.client import Client, ClientLimits, ClientOptions
from kvsync.http.clock_skew import ahead_of_server
from kvsync.http.failures import understood
from kvsync.http.model import Response
from kvsync.model.entry import Actual, Identity
from kvsync.model.health import Traffic
from kvsync.stores.remote_store import Connection
from kvsync.stores.route import route_of
from kvsync.stores.vault_kv.api import ErrorMapper, Paths, data_of, errors_of, reading
from kvsync.stores.vault_kv.auth import VaultToken, sign_in_of
from kvsync.stores.vault_kv.secrets import Secret, current_of, needs_history, secret_of, to_actual, to_content

MOUNT: Final = "secret"
_ROUNDS: Final = 5
_FRESH: Final = 60.0
"""Seconds for which the id of the mount is believed."""


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
        token = VaultToken(self._login, self.paths, sign_in_of(options, context, self.where), context.clock)
        self.client = connection.client(address, ClientOptions(credentials=token, error_mapper=mapper, route=route))
        self._mount: tuple[str, float] | None = None

    async def mount(self, *, refresh: bool) -> str:
        """The id of the mount, as of at most a minute ago; with `refresh`, as of now. Raises PermanentError for what is not KV
        version 2, StoreError."""
        now = self.clock.monotonic()
        if self._mount is None or refresh or now - self._mount[1] >= _FRESH:
            what = f"looking up the mount {self.paths.mount}/"
            answer = await self.client.send(reading(self.paths.about_mount(), what, (200,)))
            self._mount = self._identified(answer, what), now
        return self._mount[0]

    async def metadata(self, path: str) -> Secret | None:
        """The metadata of a secret, None where there is none. Raises StoreError."""
        what = f"reading the metadata of {path}"
        answer = await self.client.send(reading(self.paths.metadata(path), what))
        if answer.status == 404:
            self.check_missing(answer, what)
            return None
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
        raise TransientError(f"{self.where}: {what} failed: the secret changed each time it was read")

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
        await self.client.aclose()
        await self._login.aclose()

    def _identified(self, answer: Response, what: str) -> str:
        with understood(self.where, what, answer=answer):
            data = data_of(answer)
            kind, version, found = data["type"], (data.get("options") or {}).get("version"), str(data["uuid"])
        if kind != "kv" or version != "2":
            shown = f"KV version {version or 1}" if kind == "kv" else f"of type {kind}"
            raise PermanentError(f"{self.where}: the mount {self.paths.mount}/ is {shown}; kvsync needs KV version 2")
        return found
