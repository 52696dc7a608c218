"""Aborts the connection of a write that failed or took too long, so that nothing of it arrives later.

Closing a connection still delivers what the program and the kernel have buffered, seconds after another replica may have
begun to lead. A reset drops both.
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
"""What SO_LINGER says of closing: drop what is not delivered yet, or deliver it."""

_OPENED: ContextVar[list[asyncio.Transport] | None] = ContextVar("_OPENED", default=None)
"""The connections of the write that this task is sending."""


class AbortableConnector(aiohttp.TCPConnector):
    """Lets `aborted_on_failure` know the connections of a write."""

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own name
    ) -> Connection:
        """Make a connection, or take a kept one. What closes it while the write is under way drops what is not delivered."""
        connection = await super().connect(req, traces, timeout)
        opened, transport = _OPENED.get(), connection.transport
        if opened is not None and transport is not None:
            opened.append(transport)
            _set_linger(transport, _RESET)
        return connection


@asynccontextmanager
async def aborted_on_failure(*, is_write: bool) -> AsyncIterator[None]:
    """Abort the connections that a write inside uses when an exception ends it."""
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
    """Return the connection that the write of this task uses; None before there is one, and outside of a write."""
    opened = _OPENED.get()
    return opened[-1] if opened else None


def _set_linger(transport: asyncio.Transport, value: bytes) -> None:
    found = transport.get_extra_info("socket")
    with suppress(OSError):  # closed meanwhile
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, value)
