"""Routes of the page: `/`, `/targets/STORE/NAMESPACE`, `/undo`, `/sign-in`, `/events`, `/assets/…`."""

from __future__ import annotations

import asyncio
from secrets import token_hex
from urllib.parse import urlencode

from aiohttp import web

from kvsync.errors import KvsyncError
from kvsync.model.entry import Target
from kvsync.status.http.parts import AppParts
from kvsync.status.http.session import Sessions
from kvsync.status.page.assets import FOLDER, load
from kvsync.status.page.events import Events
from kvsync.status.page.query import parsed
from kvsync.status.page.render import PageRequest, RenderedPage, Renderer
from kvsync.status.plan_views import UndoView
from kvsync.status.snapshot import StatusSnapshot

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
"""What a page may do: nothing that is not here. No script or style stands in the text, and nothing comes from elsewhere."""

_HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "same-origin"}
"""With no referrer at all, browsers do not say where a form comes from."""

EVENTS_PATH = "/events"

_FOR_EVER = "private, max-age=31536000, immutable"

FRESH = 1.0
"""Seconds for which the same snapshot serves all pages, if nothing happens: whoever has them open asks at the same moment."""


class Pages:
    """Answers browsers."""

    def __init__(self, parts: AppParts, sessions: Sessions) -> None:
        self._parts, self._sessions = parts, sessions
        self._collector, self._clock = parts.collector, parts.clock
        self._assets = load()
        self._renderer = Renderer(self._assets, self._stamp, parts.redactor.redact)
        self._events = Events(parts.collector, self._stamp)
        self._life = token_hex(4)
        self._turn = asyncio.Semaphore(1)  # whoever asks how often: one at a time, and passes go on alongside it
        self._last: tuple[StatusSnapshot, float] | None = None

    def routes(self) -> list[web.RouteDef]:
        """The paths."""
        return [
            web.get("/", self._home),
            web.get("/targets/{store}", self._target),
            web.get("/targets/{store}/{namespace:[\\s\\S]+}", self._target),
            web.get("/undo", self._undo),
            web.get("/sign-in", self._sign_in),
            web.get(EVENTS_PATH, self._events.handle),
            web.get(FOLDER + "{name}", self._asset),
        ]

    async def _home(self, request: web.Request) -> web.Response:
        query, page_request = parsed(request.query.items()), self._page_request(request)
        async with self._turn:
            return _answer(await asyncio.to_thread(self._renderer.home, await self._snapshot(), query, page_request))

    async def _target(self, request: web.Request) -> web.Response:
        name = request.match_info
        target = Target(name["store"], name.get("namespace", request.query.get("namespace", "")))
        page_request = self._page_request(request)
        async with self._turn:
            snapshot = await self._snapshot()
            view = next((view for view in snapshot.targets if view.target == target), None)
            if view is None:
                return _answer(await asyncio.to_thread(self._renderer.missing, snapshot, target, page_request), 404)
            return _answer(await asyncio.to_thread(self._renderer.target, snapshot, view, page_request))

    async def _undo(self, request: web.Request) -> web.Response:
        """The preview of an undo, for people who may request it: it reads stores."""
        page_request = self._page_request(request)
        if not page_request.csrf or self._parts.undo is None:
            return web.Response(status=303, headers={"Location": f"/sign-in?{urlencode({'back': request.path_qs})}"})
        run, commit = request.query.get("run", ""), request.query.get("commit", "")
        async with self._turn:
            try:
                found = await self._parts.undo.preview(run, commit)
            except KvsyncError as error:
                found = UndoView(str(error), "")
            return _answer(await asyncio.to_thread(self._renderer.undo, await self._snapshot(), found, page_request))

    async def _sign_in(self, request: web.Request) -> web.Response:
        page_request = self._page_request(request)
        back, is_wrong = request.query.get("back", "/"), request.query.get("wrong") == "1"
        return _answer(await asyncio.to_thread(self._renderer.sign_in, page_request, back, is_wrong=is_wrong))

    def _page_request(self, request: web.Request) -> PageRequest:
        """Who asks, and for what. Raises AuthError when the token cannot be read."""
        token = self._parts.access.token
        session = self._sessions.of(request, token)
        can_sign_in = token is not None
        if session is None:
            return PageRequest(_encodings(request), request.path_qs, can_sign_in=can_sign_in)
        is_page = "text/html" in request.headers.get(
            "Accept", ""
        )  # a script that asks for news must not use up the note
        note, is_bad = session.take_note() if is_page else ("", False)
        return PageRequest(_encodings(request), request.path_qs, session.csrf, note, is_bad, can_sign_in)

    async def _asset(self, request: web.Request) -> web.Response:
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        is_it = request.query.get("v") == asset.fingerprint
        headers = {"Cache-Control": _FOR_EVER} if is_it else None
        return web.Response(body=asset.body, content_type=asset.content_type, charset="utf-8", headers=headers)

    def _stamp(self, version: int) -> str:
        """Identifies a version, also across restarts of the daemon."""
        return f"{self._life}-{version}"

    async def _snapshot(self) -> StatusSnapshot:
        now = self._clock.monotonic()
        if self._last is None or self._last[0].version != self._collector.version or now - self._last[1] > FRESH:
            self._last = await self._collector.snapshot(), now
        return self._last[0]


def _answer(page: RenderedPage, status: int = 200) -> web.Response:
    return web.Response(body=page.body, status=status, headers={**page.headers, **_HEADERS})


def _encodings(request: web.Request) -> str:
    return request.headers.get("Accept-Encoding", "")
