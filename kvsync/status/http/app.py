"""Routes of the HTTP server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from kvsync.errors import UsageError
from kvsync.model.entry import Identity, Target
from kvsync.state import operator as control
from kvsync.status.document import deletes_document, snapshot_document, status_document
from kvsync.status.http.actions import Actions
from kvsync.status.http.answers import answer, text
from kvsync.status.http.body import LARGEST_BODY, body_of
from kvsync.status.http.guard import guarded, with_headers
from kvsync.status.http.hook_handler import HOOK_PATH
from kvsync.status.http.parts import AppParts
from kvsync.status.http.session import Sessions
from kvsync.status.metrics import exposition
from kvsync.status.page.paths import Pages
from kvsync.status.snapshot import StatusSnapshot
from kvsync.util.background import in_background


def application(parts: AppParts) -> web.Application:
    """The paths, behind the guard."""
    app = web.Application(middlewares=[guarded(parts.access)], client_max_size=LARGEST_BODY)
    app.on_response_prepare.append(with_headers)
    seen, acts, sessions = _Seen(parts), _ActionHandlers(parts), Sessions(parts.clock)
    parts.access.sessions = sessions
    app.add_routes(
        [
            web.get("/healthz", seen.healthz),
            web.get("/readyz", seen.readyz),
            web.get("/metrics", seen.metrics),
            web.get("/status", seen.status),
            web.post(HOOK_PATH, parts.hook.handle),
            web.post("/approve/{digest}", acts.approve),
            web.post("/pause/{target:.+}", acts.pause),
            web.post("/resume/{target:.+}", acts.resume),
            *Actions(parts, sessions).routes(),
            *Pages(parts, sessions).routes(),
        ]
    )
    return app


class _Seen:
    """What only shows."""

    def __init__(self, parts: AppParts) -> None:
        self._parts, self._collector = parts, parts.collector
        self._turn = asyncio.Semaphore(1)  # whoever asks how often: one at a time, and passes go on alongside it

    async def healthz(self, _request: web.Request) -> web.Response:
        """The process lives, and its loop turns."""
        return answer({"ok": True})

    async def readyz(self, _request: web.Request) -> web.Response:
        """The first pass of every target has finished, and passes come and end as they should."""
        leaving = self._collector.leaving.is_set()
        ready = self._collector.ready and not leaving
        waiting = 0 if ready else self._collector.waiting
        stuck = {"stuck": True} if self._collector.stuck else {}
        return answer({"ready": ready, "waiting": waiting, "leaving": leaving} | stuck, 200 if ready else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        """Everything for Prometheus."""
        accept, encodings = (request.headers.get(name, "") for name in ("Accept", "Accept-Encoding"))
        async with self._turn:
            snapshot = await self._collector.snapshot()
            page = await asyncio.to_thread(exposition, snapshot, accept, encodings)
        return web.Response(body=page.body, headers=page.headers)

    async def status(self, _request: web.Request) -> web.Response:
        """The document of `kvsync status -o json`, with everything in the snapshot."""
        async with self._turn:
            snapshot = await self._collector.snapshot()
            return text(await asyncio.to_thread(self._status, snapshot), "application/json")

    def _status(self, snapshot: StatusSnapshot) -> str:
        now = self._parts.clock.now()
        known = status_document(self._parts.state, now) | deletes_document(self._parts.budget())
        return self._parts.redactor.clean_text(snapshot_document(known, snapshot))


class _ActionHandlers:
    """Operator actions over HTTP: the same as the commands of the same names. The state may take seconds to respond, so it is
    asked in the background."""

    def __init__(self, parts: AppParts) -> None:
        self._parts, self._state = parts, parts.state

    async def approve(self, request: web.Request) -> web.Response:
        """Approve the parked plan with this hash."""
        digest, now = request.match_info["digest"], self._parts.clock.now()
        released = await in_background(lambda: control.approve(self._state, digest, now, "http"))
        return self._done({"released": [{"target": str(one.target), "digest": one.digest} for one in released]})

    async def pause(self, request: web.Request) -> web.Response:
        """Stop applying changes to a target or a store."""
        target, reason = request.match_info["target"], await _reason(request)
        stores, now = self._parts.stores(), self._parts.clock.now()
        is_new = await in_background(lambda: control.pause(self._state, stores, target, reason, now, "http"))
        return self._done({"target": target, "new": is_new})

    async def resume(self, request: web.Request) -> web.Response:
        """End a pause; with keys in the body, retry deferred entries instead."""
        target, keys = request.match_info["target"], await _keys(request)
        stores, now = self._parts.stores(), self._parts.clock.now()
        if keys:
            tried = await in_background(lambda: control.retry(self._state, stores, target, keys, now, "http"))
            return self._done({"target": target, "retried": [_entry(*one) for one in tried]})
        resumed = await in_background(lambda: control.resume(self._state, stores, target, "http"))
        still = None if resumed.still is None else str(resumed.still)
        return self._done({"target": target, "ended": resumed.ended, "still_paused_by": still})

    def _done(self, document: dict[str, Any]) -> web.Response:
        self._parts.wake()
        self._parts.collector.changed()
        return answer(document)


def _entry(target: Target, identity: Identity) -> dict[str, Any]:
    return {"target": str(target), "key": identity.key, "label": identity.label}


async def _keys(request: web.Request) -> list[str]:
    """Which entries to retry: `{"keys": [GLOB, …]}`, or no body for none. Raises UsageError."""
    body = await body_of(request)
    if not body:
        return []
    try:
        keys = json.loads(body).get("keys", [])
    except (ValueError, AttributeError, RecursionError):
        keys = None
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise UsageError('the body is {"keys": [GLOB, …]}, or nothing')
    return keys


async def _reason(request: web.Request) -> str | None:
    """Why a person pauses: `{"reason": TEXT}`, or no body. Raises UsageError."""
    body = await body_of(request)
    if not body:
        return None
    try:
        reason = json.loads(body).get("reason")
    except (ValueError, AttributeError, RecursionError):
        reason = ""
    if reason is not None and not (isinstance(reason, str) and 0 < len(reason) <= 500):
        raise UsageError('the body is {"reason": TEXT}, with at most 500 characters, or nothing')
    return reason
