"""Connection limits of the HTTP server.

At the limit nothing more is accepted: further clients wait in the system's queue and cost no descriptor, which the passes need.
While one waits there, room is made. Connections that have not sent a whole request within a short time are ended first, then
the one whose request takes longest. An answer that is streamed to an open page is left alone.
"""

from __future__ import annotations

import asyncio
import resource
import select
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Middleware

QUEUE: Final = 100
"""Connections that the system keeps waiting."""

_SHARE: Final = 8
"""One in so many descriptors may be a connection."""

_PATIENCE: Final = 0.25
"""Seconds in which a connection must have sent a whole request while others wait."""

_LONG: Final = 5.0
"""Seconds from which on a request is taken for one that holds its connection on purpose while others wait."""

_LOOK: Final = 0.1
"""Seconds between two looks for room."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def most_connections(wanted: int) -> int:
    """How many connections there may be: as many as `wanted`, or fewer where this process may have few descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else min(wanted, max(4, soft // _SHARE))


@dataclass(slots=True)
class _Open:
    """One connection. `since` is when it was opened, or began or ended its last request; `streams` says that its answer has no
    end."""

    protocol: web.RequestHandler | None
    since: float
    is_busy: bool = False
    streams: bool = False

    def end(self) -> None:
        """End it at once."""
        transport = self.protocol.transport if self.protocol is not None else None
        if transport is not None:
            transport.abort()


class Listener:
    """Accepts connections for the protocols that `make` makes, at most `most` at once."""

    def __init__(self, make: Callable[[], web.RequestHandler], streams: frozenset[str] = frozenset()) -> None:
        self._make, self._streams = make, streams
        self.most = 1
        """Connections at once. Open ones stay when it becomes smaller."""
        self._sockets: list[socket.socket] = []
        self._open: list[_Open] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._later: asyncio.TimerHandle | None = None

    @property
    def address(self) -> tuple[str, int] | None:
        """Where it listens, None while it does not."""
        if not self._sockets:
            return None
        host, port = self._sockets[0].getsockname()[:2]
        return host, port

    async def listen(self, host: str, port: int) -> None:
        """Accept connections there from now on, and no longer at the address before. Raises OSError and changes nothing when
        that fails."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        listening: list[socket.socket] = []
        try:
            for family, kind, protocol, _, address in dict.fromkeys(found):
                listening.append(_bound(family, kind, protocol, address))
        except OSError:
            for one in listening:
                one.close()
            raise
        self.stop()
        self._sockets = listening
        self._resume()

    def stop(self) -> None:
        """Accept nothing more; open connections stay. Idempotent."""
        self._pause()
        if self._later is not None:
            self._later.cancel()
            self._later = None
        for one in self._sockets:
            one.close()
        self._sockets = []

    def tracking(self) -> Middleware:
        """The outermost middleware: it distinguishes connections with a request from those without."""

        @web.middleware
        async def track(request: web.Request, handler: Handler) -> web.StreamResponse:
            one = next((one for one in self._open if one.protocol is request.protocol), None)
            if one is None:
                return await handler(request)
            one.is_busy, one.since, one.streams = True, _now(), request.path in self._streams
            try:
                return await handler(request)
            finally:
                one.is_busy, one.since, one.streams = False, _now(), False

        return track

    def _resume(self) -> None:
        """Accept as long as there is room; look again soon where there is none."""
        self._later = None
        self._forget_closed()
        if len(self._open) >= self.most:
            self._make_room()
            self._later = asyncio.get_running_loop().call_later(_LOOK, self._resume)
            return
        for one in self._sockets:
            asyncio.get_running_loop().add_reader(one, self._accept, one)

    def _pause(self) -> None:
        for one in self._sockets:
            asyncio.get_running_loop().remove_reader(one)

    def _accept(self, listening: socket.socket) -> None:
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:  # no descriptor is left, not even for this
            self._wait()
            return
        connection.setblocking(False)
        one = _Open(None, _now())
        self._open.append(one)
        task = asyncio.create_task(self._connect(one, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if len(self._open) >= self.most:
            self._forget_closed()
        if len(self._open) >= self.most:
            self._wait()

    def _wait(self) -> None:
        self._pause()
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(_LOOK, self._resume)

    async def _connect(self, one: _Open, connection: socket.socket) -> None:
        try:
            _, one.protocol = await asyncio.get_running_loop().connect_accepted_socket(self._make, connection)
        except OSError:
            connection.close()
            self._open.remove(one)

    def _forget_closed(self) -> None:
        self._open = [one for one in self._open if one.protocol is None or one.protocol.transport is not None]

    def _make_room(self) -> None:
        """End as many connections as wait, of those that keep others out: idle ones first, then the one that takes longest."""
        if not any(_has_waiting(one) for one in self._sockets):
            return
        now = _now()
        idle = [one for one in self._open if not one.is_busy and now - one.since > _PATIENCE]
        busy = [one for one in self._open if one.is_busy and not one.streams and now - one.since > _LONG]
        for one in idle or sorted(busy, key=lambda one: one.since)[:1]:
            one.end()


def _bound(family: int, kind: int, protocol: int, address: Any) -> socket.socket:
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setblocking(False)
        listening.bind(address)
        listening.listen(QUEUE)
    except OSError:
        listening.close()
        raise
    return listening


def _has_waiting(listening: socket.socket) -> bool:
    """True when a connection waits to be accepted."""
    poll = select.poll()
    poll.register(listening, select.POLLIN)
    return bool(poll.poll(0))


def _now() -> float:
    return asyncio.get_running_loop().time()
