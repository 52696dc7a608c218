"""Bodies of requests: long ones are sent in chunks, and those of a write only while this replica leads.

A server acts on a body once it has all of it. So the end of a long body is sent only after the server's machine has confirmed
everything before it. Then the end fits into the kernel's buffer, and nothing is left that could be sent after this process, or
its machine, was stopped for longer than the lease.

Once a request has its connection, aiohttp may let the event loop turn before it sends the body, and a process that is stopped
in that turn would send it later. So the lease is checked in the step in which the end of a body, long or short, is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from fcntl import ioctl
from struct import pack, unpack
from termios import TIOCOUTQ
from typing import Final

from kvsync.http.abort import opened_connection
from kvsync.util.write_fence import Fence

_PIECE: Final = 64 * 1024
"""Bytes of a body that are sent at once: not much more is buffered when a write is aborted, or the process is stopped."""

_END: Final = 16 * 1024
"""Bytes of a body that always fit into the kernel's buffer of an idle connection."""

_SHORTEST_LOOK: Final = 0.001
_LONGEST_LOOK: Final = 0.05
"""Seconds between two checks whether everything was confirmed."""


def length_header(body: bytes, fence: Fence | None) -> Mapping[str, str]:
    """The header that keeps a body in chunks from being sent with chunked encoding."""
    return {"Content-Length": str(len(body))} if _is_iterated(body, fence) else {}


def in_pieces(body: bytes, fence: Fence | None) -> bytes | AsyncIterator[bytes]:
    """A body, in chunks if it is long, so that sending it blocks nothing else. A fence that follows a lease is checked as each
    chunk is sent; NotLeader ends the body."""
    if not _is_iterated(body, fence):
        return body
    return _pieces(body) if fence is None else _guarded(body, fence)


def _is_iterated(body: bytes, fence: Fence | None) -> bool:
    return len(body) > (_PIECE if fence is None else 0)


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]


async def _guarded(body: bytes, fence: Fence) -> AsyncIterator[bytes]:
    async for piece in _pieces(body[:-_END]):
        fence.check()
        yield piece
    if len(body) > _END:
        await _confirmed()
    fence.check()
    yield body[-_END:]


async def _confirmed() -> None:
    """Wait until the server has confirmed everything that was sent. The caller bounds the time."""
    pause = _SHORTEST_LOOK
    while True:
        if not _unconfirmed():
            await asyncio.sleep(0)  # the event loop may hold more, which it sends once there is room
            if not _unconfirmed():
                return
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_LOOK)


def _unconfirmed() -> int:
    """Unconfirmed bytes on the connection of this task; 0 if the system does not say."""
    transport = opened_connection()
    found = None if transport is None else transport.get_extra_info("socket")
    if transport is None or found is None or transport.is_closing():
        return 0
    try:
        (queued,) = unpack("i", ioctl(found.fileno(), TIOCOUTQ, pack("i", 0)))
    except OSError:
        return 0
    return int(queued) + transport.get_write_buffer_size()
