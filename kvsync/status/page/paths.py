"""Routes of the page: `/`, `/targets/STORE/NAMESPACE`, `/events`, `/assets/…`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from secrets import token_hex

from aiohttp import web

from kvsync.model.entry import Target
from kvsync.status.collector import Collector
from kvsync.status.page.assets import FOLDER, load
from kvsync.status.page.events import Events
from kvsync.status.page.query import parsed
from kvsync.status.page.render import RenderedPage, Renderer
from kvsync.status.snapshot import StatusSnapshot
from kvsync.util.clock import Clock

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
"""What a page may do: nothing that is not here. No script or style stands in the text, and nothing comes from elsewhere."""

EVENTS_PATH = "/events"

_FOR_EVER = "private, max-age=31536000, immutable"

FRESH = 1.0
"""Seconds for which the same board serves all pages, if nothing happens: whoever has them open asks at the same moment."""


class Pages:
    """Answers browsers. `redact` takes secrets out of a text."""

    def __init__(self, collector: Collector, clock: Clock, redact: Callable[[str], str]) -> None:
        self._collector, self._clock = collector, clock
        self._assets = load()
        self._renderer = Renderer(self._assets, self._stamp, redact)
        self._events = Events(collector, self._stamp)
        self._life = token_hex(4)
        self._turn = asyncio.Semaphore(1)  # whoever asks how often: one at a time, and passes go on alongside it
        self._last: tuple[StatusSnapshot, float] | None = None

    def routes(self) -> list[web.RouteDef]:
        """The paths."""
        return [
            web.get("/", self._home),
            web.get("/targets/{store}", self._target),
            web.get("/targets/{store}/{namespace:[\\s\\S]+}", self._target),
            web.get(EVENTS_PATH, self._events.handle),
            web.get(FOLDER + "{name}", self._asset),
        ]

    async def _home(self, request: web.Request) -> web.Response:
        query, encodings = parsed(request.query.items()), _encodings(request)
        async with self._turn:
            return _answer(await asyncio.to_thread(self._renderer.home, await self._board(), query, encodings))

    async def _target(self, request: web.Request) -> web.Response:
        name = request.match_info
        target = Target(name["store"], name.get("namespace", request.query.get("namespace", "")))
        encodings = _encodings(request)
        async with self._turn:
            board = await self._board()
            view = next((view for view in board.targets if view.target == target), None)
            if view is None:
                return _answer(await asyncio.to_thread(self._renderer.missing, board, target, encodings), 404)
            return _answer(await asyncio.to_thread(self._renderer.target, board, view, encodings))

    async def _asset(self, request: web.Request) -> web.Response:
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        is_it = request.query.get("v") == asset.fingerprint
        headers = {"Cache-Control": _FOR_EVER} if is_it else None
        return web.Response(body=asset.body, content_type=asset.content_type, charset="utf-8", headers=headers)

    def _stamp(self, version: int) -> str:
        """What tells versions apart, also those of a daemon that was started again."""
        return f"{self._life}-{version}"

    async def _board(self) -> StatusSnapshot:
        now = self._clock.monotonic()
        if self._last is None or self._last[0].version != self._collector.version or now - self._last[1] > FRESH:
            self._last = await self._collector.board(), now
        return self._last[0]


def _answer(page: RenderedPage, status: int = 200) -> web.Response:
    return web.Response(body=page.body, status=status, headers={**page.headers, "Content-Security-Policy": POLICY})


def _encodings(request: web.Request) -> str:
    return request.headers.get("Accept-Encoding", "")
