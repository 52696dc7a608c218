"""Receiver of notifications: a real server that records requests and sends the responses it is given."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.daemon.support import until


@dataclass(frozen=True)
class ReceivedMessage:
    """One message."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """`answers` are the statuses (with headers) of the next answers; then 200. While `gate` is clear it does not answer."""

    url: str = ""
    got: list[ReceivedMessage] = field(default_factory=list)
    answers: deque[tuple[int, dict[str, str]]] = field(default_factory=deque)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.Response:
        self.got.append(ReceivedMessage(request.path_qs, request.headers.copy(), await request.read()))
        await self.gate.wait()
        status, headers = self.answers.popleft() if self.answers else (200, {})
        return web.Response(status=status, headers=headers, text="ok")

    async def has(self, count: int) -> ReceivedMessage:
        """Wait until so many came, and return the last."""
        await until(lambda: len(self.got) >= count)
        assert len(self.got) == count
        return self.got[-1]

    def kinds(self) -> list[list[str]]:
        """What each message told, of format webhook."""
        return [[f"{one['kind']} {one['store']}/{one['namespace']}" for one in got.json["notices"]] for got in self.got]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Have one at work."""
    receiver = Receiver()
    receiver.gate.set()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/services/T000/B000/a-very-secret-path"
    try:
        yield receiver
    finally:
        await runner.cleanup()
