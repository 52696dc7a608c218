"""Aborts the connection of a write that failed or took too long, so that nothing of it arrives later.

Closing a connection still delivers what the program and the kernel have buffered, even seconds after another replica has become
the leader. A reset drops both.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

import aiohttp

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

_RESET: Final = struct.pack("ii", 1, 0)
_DELIVER: Final = struct.pack("ii", 0, 0)
"""Values of SO_LINGER: drop undelivered data on close, or deliver it."""

_OPENED: ContextVar[list[asyncio.Transport] | None] = ContextVar("_OPENED", default=None)
"""The connections of the write that this task is sending."""


class AbortableConnector(aiohttp.TCPConnector):
    """Tells `aborted_on_failure` about the connections of a write."""

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own name
    ) -> Connection:
        """Open a connection, or take one from the pool. If it is closed during a write, undelivered data is dropped."""
        connection = await super().connect(req, traces, timeout)
        opened, transport = _OPENED.get(), connection.transport
        if opened is not None and transport is not None:
            opened.append(transport)
            _set_linger(transport, _RESET)
        return connection


@asynccontextmanager
async def aborted_on_failure(*, is_write: bool) -> AsyncIterator[None]:
    """Abort the connections of the write inside if an exception ends it."""
    opened: list[asyncio.Transport] = []
    before = _OPENED.set(opened if is_write else None)
    try:
        yield
    except BaseException:
        for transport in opened:
            transport.abort()
        raise
    finally:
        _OPENED.reset(before)
    for transport in opened:
        _set_linger(transport, _DELIVER)


def opened_connection() -> asyncio.Transport | None:
    """Return the connection of this task's write; None before there is one, and outside of a write."""
    opened = _OPENED.get()
    return opened[-1] if opened else None


def _set_linger(transport: asyncio.Transport, value: bytes) -> None:
    found = transport.get_extra_info("socket")
    with suppress(OSError):  # closed meanwhile
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, value)
