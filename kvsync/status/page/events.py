"""Server-sent events that tell open pages to reload their content.

    version   the stamp of the newest snapshot; a page that shows an older one asks again
    beat      nothing is new, and the connection lives

Many events in a row are one. Who does not read is let go, and there is room for so many at once.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from kvsync.status.collector import Collector
from kvsync.status.http.answers import failure

_FULL: Final = "too many pages are open; reload the page to update it"


@dataclass(frozen=True, slots=True)
class EventTiming:
    """How many may listen at once, how many bytes one may leave unread, and when they hear of something (in seconds).

    `gap` is the least time between two versions, `beat` the most without a word. After `life` a page has to ask again, so that
    one whose token was withdrawn does not listen forever.
    """

    most: int = 32
    unread: int = 4096
    gap: float = 1.0
    beat: float = 15.0
    life: float = 900.0


class Events:
    """Answers those who listen, until the daemon leaves. `stamp` makes a stamp of a version."""

    def __init__(self, collector: Collector, stamp: Callable[[int], str], pace: EventTiming | None = None) -> None:
        self._collector, self._stamp, self._pace = collector, stamp, pace or EventTiming()
        self.listening = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Listen."""
        if self.listening >= self._pace.most:
            return failure(503, _FULL, {"Retry-After": "30"})
        self.listening += 1
        try:
            return await self._answer(request)
        finally:
            self.listening -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        response.headers["X-Accel-Buffering"] = "no"  # or a proxy in front keeps the news to itself
        response.force_close()  # its small buffer would be a narrow way for whatever is asked next
        await response.prepare(request)
        if request.method == "HEAD" or request.transport is None:
            return response
        _keep_small(request.transport, self._pace.unread)
        # Time is up, or it went away; the browser asks again if it is still there.
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(self._pace.life):
                await self._stream(response, request.transport)
        return response

    async def _stream(self, response: web.StreamResponse, transport: asyncio.Transport) -> None:
        """Send every version, or the newest of several, with heartbeats, until the daemon shuts down or nobody reads."""
        leaving, sent = self._collector.leaving, None
        while not leaving.is_set() and transport.get_write_buffer_size() <= self._pace.unread:
            version = self._collector.version
            if version == sent:
                await response.write(b"event: beat\ndata:\n\n")
            else:
                await response.write(f"event: version\ndata: {self._stamp(version)}\n\n".encode())
                sent = version
                await _at_most(self._pace.gap, leaving.wait())
            if self._collector.version == sent:
                await _at_most(self._pace.beat, self._collector.news())
        if not leaving.is_set():
            transport.abort()


async def _at_most(seconds: float, event: Awaitable[object]) -> None:
    """Wait for something, but no longer than that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event


def _keep_small(transport: asyncio.Transport, size: int) -> None:
    """Let the system hold back no more than about that for someone who does not read: it must be seen here."""
    channel = transport.get_extra_info("socket")
    if channel is not None:
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
