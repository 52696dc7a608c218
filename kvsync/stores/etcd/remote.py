"""Connections to the endpoints of one cluster, with failover, and the leases that entries end with."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from random import Random
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from kvsync.config.model import StoreConfig
from kvsync.errors import LostAnswer, NotLeader, PermanentError, TransientError
from kvsync.http.client import Client
from kvsync.http.client_options import ClientLimits, ClientOptions
from kvsync.http.etcd import CompactedError, LeaseGoneError, Password, call, encoded, error_of, object_of, raw
from kvsync.http.failures import understood
from kvsync.http.model import Request, Response
from kvsync.http.trust import ClientCertificate
from kvsync.stores.remote_store import Connection
from kvsync.stores.route import route_of
from kvsync.util.backoff import BackoffPolicy
from kvsync.util.gc_pause import gc_paused
from kvsync.util.redaction import REDACTOR

OWN_KEY: Final = ".kvsync"
"""The key that holds the id which kvsync gave to the cluster; with a slash, what the keys of marks begin with."""

_ROUNDS: Final = 4
"""How often all endpoints are tried for a read."""

_PAUSES: Final = BackoffPolicy(base=0.2, cap=3.0)
_QUIET: Final = 60.0
"""Seconds without a word of etcd after which a stream is opened again: its connection may be dead."""

_MOST_OWN: Final = 4096
"""Revisions of our own writes that are remembered."""

_MOST_LEASES: Final = 256
"""Leases that are remembered, so that later entries which end at the same moment share them."""


class Cluster(NamedTuple):
    """A cluster by its own id, and by the random id in it that kvsync made: clusters that were set up alike have the same own
    id. `id` is None where nothing was written yet."""

    cluster: str
    id: str | None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One member and its connections; those of `streams` stay open. `login` is used for signing in alone."""

    where: str
    client: Client
    streams: Client
    login: Client | None = None
    credentials: Password | None = None

    async def aclose(self) -> None:
        """Close all of them. Idempotent."""
        if self.credentials is not None:
            await self.credentials.aclose()
        for client in (self.client, self.streams, self.login):
            if client is not None:
                await client.aclose()


class Remote:
    """Connects on first use. A call goes to the endpoint that answered last. Raises AuthError for a credential that cannot be
    read."""

    def __init__(self, connection: Connection) -> None:
        self.where, self.clock, self.connection = connection.label, connection.clock, connection
        opener = _Opener(connection)
        self.endpoints = [opener.endpoint(url) for url in urls_of(connection.config)]
        self._at, self._stream_at, self._timeout = 0, 0, connection.config.timeout
        self._own: OrderedDict[int, None] = OrderedDict()
        self.seen: dict[bytes, int] = {}
        """The revision up to which changes below each prefix are known."""
        self._rng = Random()  # noqa: S311 - spreads load
        self._leases: OrderedDict[int, str] = OrderedDict()
        self._granting = asyncio.Lock()

    async def read(self, path: str, what: str, body: Mapping[str, Any]) -> Response:
        """Ask something that changes nothing, of each endpoint in turn until one answers with a JSON object, the `data` of the
        response. Raises StoreError."""
        request = call(path, what, body, reads=True)
        ends, tries = self.clock.monotonic() + 2 * self._timeout, _ROUNDS * len(self.endpoints)
        for attempt in range(1, tries + 1):
            at = self._at
            try:
                return self._with_data(request, await self.endpoints[at].client.send(request))
            except CompactedError:
                raise
            except TransientError as error:
                self._move_on(at)
                pause = 0.0
                if attempt % len(self.endpoints) == 0:
                    pause = _PAUSES.delay(attempt // len(self.endpoints), self._rng, error.retry_after)
                if attempt == tries or self.clock.monotonic() + pause > ends:
                    raise
                await self.clock.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    async def write(self, path: str, what: str, body: Mapping[str, Any], *, is_secret: bool = False) -> Response:
        """Send a write once: to the next endpoint only where the one before it cannot have received it. The response has a JSON
        object as its `data`. Raises StoreError."""
        request = call(path, what, body, is_secret=is_secret)
        for left in reversed(range(len(self.endpoints))):
            at = self._at
            try:
                return self._with_data(request, await self.endpoints[at].client.send(request))
            except (NotLeader, LeaseGoneError):
                raise
            except LostAnswer:
                self._move_on(at)
                raise
            except TransientError:
                self._move_on(at)
                if not left:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def stream(self, request: Request) -> None:
        """Keep a request open that fills its sink, until it ends; the next one goes to the next endpoint. Raises StoreError."""
        endpoint = self.endpoints[self._stream_at]
        try:
            await endpoint.streams.send(request)
        except TransientError:
            self._stream_at = (self._stream_at + 1) % len(self.endpoints)
            if endpoint.credentials is not None:
                await endpoint.credentials.renew()
            raise

    def note_revision(self, start: bytes, revision: int) -> None:
        """Note that everything below a prefix is known up to this revision."""
        self.seen[start] = max(revision, self.seen.get(start, 0))

    def note_own(self, revision: int) -> None:
        """Remember that a revision was made by a write of ours."""
        self._own[revision] = None
        if len(self._own) > _MOST_OWN:
            self._own.popitem(last=False)

    def is_own(self, revision: int) -> bool:
        """True for a revision that a write of ours made, as far back as is remembered."""
        return revision in self._own

    async def cluster(self, *, writing: bool = False) -> Cluster:
        """Which cluster this is. With `writing`, its id is made where it is missing. Raises StoreError."""
        what = "identifying the cluster"
        found = await self.read("kv/range", what, {"key": encoded(OWN_KEY)})
        with understood(self.where, what, answer=found):
            known = Cluster(_cluster_id(found.data), self._id_in(found.data.get("kvs")))
        if known.id is not None or not writing:
            return known
        made = secrets.token_hex(16)
        missing = {"key": encoded(OWN_KEY), "target": "CREATE", "create_revision": "0", "result": "EQUAL"}
        put = {"request_put": {"key": encoded(OWN_KEY), "value": encoded(made)}}
        seen = {"request_range": {"key": encoded(OWN_KEY)}}
        body = {"compare": [missing], "success": [put], "failure": [seen]}
        done = await self.write("kv/txn", "giving the cluster an id", body)
        with understood(self.where, what, answer=done):
            is_ours = done.data.get("succeeded", False)
            other = None if is_ours else self._id_in(done.data["responses"][0]["response_range"]["kvs"])
            return Cluster(_cluster_id(done.data), made if is_ours else other)

    async def lease(self, ends: int) -> str:
        """A lease that ends at this moment (epoch seconds); entries that end together share one. Raises StoreError."""
        async with self._granting:
            known = self._leases.get(ends)
            if known is not None:
                self._leases.move_to_end(ends)
                return known
            what = "requesting a lease"
            seconds = max(1, ceil(ends - self.clock.now()))
            granted = await self.write("lease/grant", what, {"TTL": str(seconds)})
            with understood(self.where, what, answer=granted):
                self._leases[ends] = str(granted.data["ID"])
            if len(self._leases) > _MOST_LEASES:
                self._leases.popitem(last=False)
            return self._leases[ends]

    def drop_leases(self) -> None:
        """Request new leases from now on: one of them is gone."""
        self._leases.clear()

    async def lease_end(self, lease: str) -> float | None:
        """When a lease ends (epoch seconds), None when it has ended. Raises StoreError."""
        what = "reading a lease"
        found = await self.read("lease/timetolive", what, {"ID": lease})
        with understood(self.where, what, answer=found):
            seconds = int(found.data.get("TTL", 0))
        return None if seconds <= 0 else self.clock.now() + seconds

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        for endpoint in self.endpoints:
            await endpoint.aclose()

    def _with_data(self, request: Request, answer: Response) -> Response:
        with gc_paused():
            return replace(answer, data=object_of(self.where, request, answer))

    def _id_in(self, kvs: Any) -> str | None:
        found = raw(kvs[0]["value"]) if kvs else None
        try:
            return None if found is None else found.decode()
        except UnicodeDecodeError:
            raise PermanentError(
                f"{self.where}: the key {OWN_KEY}, in which kvsync keeps the id of the cluster, has a value that is not text;"
                " restore it, or delete the key if no kvsync uses this cluster"
            ) from None

    def _move_on(self, at: int) -> None:
        if self._at == at:  # of several calls that fail at a time, one moves on
            self._at = (at + 1) % len(self.endpoints)


def urls_of(config: StoreConfig) -> tuple[str, ...]:
    """The base URLs of the endpoints as they are written."""
    written: str | Sequence[str] | None = config.options.get("endpoints") or config.endpoint
    assert written is not None
    return (written,) if isinstance(written, str) else tuple(written)


def _cluster_id(found: Mapping[str, Any]) -> str:
    return f"{int(found['header']['cluster_id']):x}"


class _Opener(NamedTuple):
    """Opens the connections to one endpoint after another."""

    connection: Connection

    def endpoint(self, url: str) -> Endpoint:
        """The connections to the endpoint at `url`. Raises AuthError for a certificate that cannot be read."""
        config, context = self.connection.config, self.connection.context
        where, options = f"{self.connection.label} at {urlsplit(url).netloc}", config.options
        limits = ClientLimits(config.timeout, self.connection.concurrency)
        quiet = ClientLimits(_QUIET, 1)
        name, password = options.get("username"), options.get("password")
        if name is None or password is None:
            return Endpoint(where, self._client(where, url, limits), self._client(where, url, quiet))
        login = self._client(where, url, ClientLimits(config.timeout, 1))
        hint = f"grant {name} readwrite on the keys of the namespace, and of {OWN_KEY}/ in front of them"
        user = name, lambda: context.resolve(password)
        credentials = Password(where, login, user, REDACTOR.register_token, hint)
        client, streams = (self._client(where, url, one, credentials) for one in (limits, quiet))
        return Endpoint(where, client, streams, login, credentials)

    def _client(self, where: str, url: str, limits: ClientLimits, credentials: Password | None = None) -> Client:
        config = self.connection.config
        tls: Mapping[str, Any] = config.options.get("tls") or {}
        route = route_of(config, self.connection.context, tls.get("ca"), self._certificate(tls))
        mapper = partial(error_of, where)
        options = ClientOptions(credentials=credentials, error_mapper=mapper, route=route, repeats_reads=False)
        return self.connection.client(url, options, limits, where)

    def _certificate(self, tls: Mapping[str, Any]) -> ClientCertificate | None:
        if tls.get("cert") is None:
            return None
        resolve = self.connection.context.resolve
        return ClientCertificate(resolve(tls["cert"]), resolve(tls["key"]))
