"""Aborts the connection of a write that failed or took too long, so that nothing of it arrives later.

A write asks once more whether it may be sent when it has its connection: until then any time may have passed.

Closing a connection still delivers what the program and the kernel have buffered, even seconds after another replica has become
the leader. A reset drops both.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

_RESET: Final = struct.pack("ii", 1, 0)
_DELIVER: Final = struct.pack("ii", 0, 0)
"""Values of SO_LINGER: drop undelivered data on close, or deliver it."""


@dataclass(frozen=True)
class _Write:
    """A write that is being sent: what to ask before it is, and its connections."""

    check: Callable[[], None]
    opened: list[asyncio.Transport] = field(default_factory=list)


_WRITE: ContextVar[_Write | None] = ContextVar("_WRITE", default=None)
"""The write that this task is sending."""


class AbortableConnector(aiohttp.TCPConnector):
    """Reports the connections of a write to `aborted_on_failure`."""

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own name
    ) -> Connection:
        """Open a connection, or take one from the pool. If it is closed during a write, undelivered data is dropped. Raises
        what the check of the write raises."""
        connection = await super().connect(req, traces, timeout)
        write, transport = _WRITE.get(), connection.transport
        if write is not None and transport is not None:
            write.opened.append(transport)
            _set_linger(transport, _RESET)
            try:
                write.check()
            except BaseException:
                connection.close()
                raise
        return connection


@contextmanager
def aborted_on_failure(check: Callable[[], None] | None) -> Iterator[None]:
    """Abort the connections of the write inside if an exception ends it. `check` is called just before it is sent, and raises
    if it must not be; None: nothing is written."""
    write = None if check is None else _Write(check)
    before = _WRITE.set(write)
    opened = [] if write is None else write.opened
    try:
        yield
    except BaseException:
        for transport in opened:
            transport.abort()
        raise
    finally:
        _WRITE.reset(before)
    for transport in opened:
        _set_linger(transport, _DELIVER)


def opened_connection() -> asyncio.Transport | None:
    """Return the connection of this task's write; None before there is one, and outside of a write."""
    write = _WRITE.get()
    return write.opened[-1] if write is not None and write.opened else None


def _set_linger(transport: asyncio.Transport, value: bytes) -> None:
    found = transport.get_extra_info("socket")
    with suppress(OSError):  # closed meanwhile
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, value)
