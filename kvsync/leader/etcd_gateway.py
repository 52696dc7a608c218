"""Client of one etcd endpoint for the lease. It sends each call once; `kvsync.leader.etcd` tries the next endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from kvsync.http.client import Client
from kvsync.http.client_options import ClientLimits, ClientOptions
from kvsync.http.etcd import Password, call, decoded, outdated
from kvsync.http.route import USUAL, Route
from kvsync.model.health import Traffic
from kvsync.util.clock import Clock

_CONCURRENCY: Final = 3

_SIGN_IN: Final = 15.0
"""Seconds that signing in may take: it goes on while claims that wait for it are given up."""


class GatewayAccess(NamedTuple):
    """How etcd is accessed. `user` is a name and what gives the password; `register` hears of tokens, which are secrets too."""

    user: tuple[str, Callable[[], str]] | None = None
    register: Callable[[object, str], None] = lambda _holder, _token: None
    route: Route = USUAL


class Gateway:
    """One endpoint of etcd, `url`. `timeout` is in seconds."""

    def __init__(
        self,
        where: str,
        url: str,
        clock: Clock,
        timeout: float,
        access: GatewayAccess = GatewayAccess(),  # noqa: B008 - it is frozen
    ) -> None:
        self._where = where
        user, register, route = access
        limits = ClientLimits(timeout, _CONCURRENCY)
        slow = ClientOptions(limits=ClientLimits(max(timeout, _SIGN_IN), 1), route=route)
        self._login = Client(where, url, clock, Traffic(), slow) if user is not None else None
        self._credentials: Password | None = None
        if user is not None and self._login is not None:
            hint = f"grant {user[0]} read and write on the key of the lease and on KEY.revisions"
            self._credentials = Password(where, self._login, user, register, hint)
        mapper = None if user is None else partial(outdated, where)
        options = ClientOptions(limits=limits, credentials=self._credentials, error_mapper=mapper, route=route)
        self._client = Client(where, url, clock, Traffic(), options)

    async def ask(self, path: str, what: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """One call, sent once. Raises StoreError."""
        request = call(path, what, body)
        return decoded(self._where, request, await self._client.send(request))

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        if self._credentials is not None:
            await self._credentials.aclose()
        await self._client.aclose()
        if self._login is not None:
            await self._login.aclose()
