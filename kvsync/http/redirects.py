"""Follows redirects to the host that serves a resource, without sending it the credential."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from urllib.parse import urljoin, urlsplit

from kvsync.config.values import is_plain_http
from kvsync.errors import PermanentError, StoreError, TransientError
from kvsync.http.client import Client
from kvsync.http.client_options import ClientOptions
from kvsync.http.model import Request, Response
from kvsync.model.health import Traffic
from kvsync.util.clock import Clock

MOVED: Final = frozenset({301, 302, 303, 307, 308})
_MOST_HOPS: Final = 3
_KNOWN: Final = frozenset({200, 404})


class RedirectFollower:
    """Follows redirects. Each host has connections of its own, with the limits and the route of `options`."""

    def __init__(
        self, where: str, clock: Clock, traffic: Traffic, options: ClientOptions, *, allow_insecure: bool
    ) -> None:
        self._where, self._clock, self._traffic = where, clock, traffic
        self._options = replace(options, error_mapper=self._error_mapper, read_only=True)
        self._allow_insecure = allow_insecure
        self._clients: dict[str, Client] = {}

    async def follow(self, base: str, call: Request, answer: Response) -> Response:
        """Follow the redirect `answer` to a reading request at the origin `base`, and return the last response. Raises
        StoreError."""
        for _ in range(_MOST_HOPS):
            base, target = self._checked(base + call.target, answer.headers.get("location", ""), call)
            call = Request("GET", target, call.what, call.headers, expects=_KNOWN | MOVED)
            answer = await self._client(base).send(call)
            if answer.status not in MOVED:
                return answer
        raise PermanentError(f"{self._where}: {call.what} failed: too many redirects")

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()

    def _checked(self, asked: str, location: str, call: Request) -> tuple[str, str]:
        """Origin and target of a redirect. Raises PermanentError if it is unsafe; the message does not repeat the URL, which
        may hold a signature."""
        try:
            url = urljoin(asked, location)
            parts, is_safe = urlsplit(url), self._allow_insecure or not is_plain_http(url)
            is_url = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and url.isascii()
        except ValueError:
            is_url = is_safe = False
        if not (is_url and is_safe):
            raise PermanentError(f"{self._where}: {call.what} failed: the API redirects to an unsafe address")
        return f"{parts.scheme}://{parts.netloc}", (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def _client(self, origin: str) -> Client:
        if origin not in self._clients:
            self._clients[origin] = Client(self._where, origin, self._clock, self._traffic, self._options)
        return self._clients[origin]

    def _error_mapper(self, call: Request, answer: Response) -> StoreError | None:
        """A host that refuses access says that the link has expired: the API makes a new one."""
        if answer.status in (400, 401, 403):
            return TransientError(
                f"{self._where}: {call.what} failed: the link to the record was refused ({answer.status})"
            )
        return None
