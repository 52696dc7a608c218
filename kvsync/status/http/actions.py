"""Forms of the page: sign in and out, approve, pause, resume, retry, undo, and ask for a pass. They work without JavaScript:
each answers with a redirect back to the page, which shows what was done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlencode

from aiohttp import web

from kvsync.errors import KvsyncError, UsageError
from kvsync.model.entry import Target
from kvsync.model.target_name import parse_target
from kvsync.rendering.words import count
from kvsync.state import operator as control
from kvsync.status.http.access import Access
from kvsync.status.http.answers import failure
from kvsync.status.http.body import body_of
from kvsync.status.http.parts import AppParts
from kvsync.status.http.session import Session, Sessions, is_from_here, is_genuine
from kvsync.util.background import in_background
from kvsync.util.escaping import escape_text

SIGN_IN: Final = "/sign-in"
SIGN_OUT: Final = "/sign-out"
ACT: Final = "/act"
FORMS: Final = frozenset({SIGN_IN, SIGN_OUT, ACT})
"""Paths that prove who asks in their own way."""

_LONGEST_REASON: Final = 500

Form = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _FormError(Exception):
    """Why a form is refused."""

    status: int
    message: str
    reason: str


class Actions:
    """Handles the forms. What a person may do is what the commands of the same names do."""

    def __init__(self, parts: AppParts, sessions: Sessions) -> None:
        self._parts, self._sessions = parts, sessions
        self._does: dict[str, Callable[[Form], Awaitable[str]]] = {
            "approve": self._approve,
            "pause": self._pause,
            "resume": self._resume,
            "retry": self._retry,
            "undo": self._undo,
            "pass": self._pass,
        }

    def routes(self) -> list[web.RouteDef]:
        """The paths."""
        return [web.post(SIGN_IN, self._sign_in), web.post(SIGN_OUT, self._sign_out), web.post(ACT, self._act)]

    @property
    def _access(self) -> Access:
        return self._parts.access

    async def _sign_in(self, request: web.Request) -> web.Response:
        token = self._access.token
        if not is_from_here(request):
            return self._refused(
                request, _FormError(403, "the form was not sent by this page; reload the page, and try again", "origin")
            )
        if token is None:
            return self._refused(
                request, _FormError(403, "set run.token in kvsync.yaml to act here", "no token is configured")
            )
        form = await _form(request)
        if not token.matches(form.get("token", "")):
            refused = self._refused(request, _FormError(401, "wrong token", "token is wrong"))
            query = urlencode({"wrong": 1, "back": _back(form)})
            return refused if refused.status == 429 else _to(f"{SIGN_IN}?{query}")
        response = _to(_back(form))
        is_secure = request.headers.get("X-Forwarded-Proto", request.scheme) == "https"
        self._sessions.begin(response, token, is_secure=is_secure)
        return response

    async def _sign_out(self, request: web.Request) -> web.Response:
        try:
            await self._session_of(request)
        except _FormError as wrong:
            return self._refused(request, wrong)
        response = _to("/")
        self._sessions.end(request, response)
        return response

    async def _act(self, request: web.Request) -> web.Response:
        try:
            session, form = await self._session_of(request)
        except _FormError as wrong:
            return self._refused(request, wrong)
        act, back = self._does.get(form.get("do", "")), _back(form)
        try:
            if act is None:
                raise UsageError("unknown action")
            session.flash(await act(form))
        except KvsyncError as error:
            session.flash(f"not done: {error}", is_bad=True)
        else:
            back = "/" if act == self._undo else back  # its preview is over
        self._parts.collector.changed()
        return _to(back)

    async def _session_of(self, request: web.Request) -> tuple[Session, Form]:
        """The session and the form of a request. Raises _FormError when it does not prove that its person sent it."""
        if not is_from_here(request):
            raise _FormError(403, "the form was not sent by this page; reload the page, and try again", "origin")
        session = self._sessions.of(request, self._access.token)
        if session is None:
            raise _FormError(401, f"the session has ended; sign in again at {SIGN_IN}", "no session")
        form = await _form(request)
        if not is_genuine(session, form.get("csrf", "")):
            raise _FormError(403, "the form does not belong to this session; load the page again", "csrf")
        return session, form

    def _refused(self, request: web.Request, wrong: _FormError) -> web.Response:
        return self._access.denied(request, failure(wrong.status, wrong.message), wrong.reason)

    async def _approve(self, form: Form) -> str:
        state, now = self._parts.state, self._parts.clock.now()
        released = await in_background(lambda: control.approve(state, form.get("digest", ""), now, "page"))
        self._parts.wake()
        return f"approved: {', '.join(str(one.target) for one in released)}"

    async def _pause(self, form: Form) -> str:
        target, reason = form.get("target", ""), form.get("reason", "").strip()[:_LONGEST_REASON] or None
        state, stores, now = self._parts.state, self._parts.stores(), self._parts.clock.now()
        await in_background(lambda: control.pause(state, stores, target, reason, now, "page"))
        self._parts.wake()
        return f"{target} is paused"

    async def _resume(self, form: Form) -> str:
        target = form.get("target", "")
        state, stores = self._parts.state, self._parts.stores()
        done = await in_background(lambda: control.resume(state, stores, target, "page"))
        self._parts.wake()
        still = f"; still paused by the pause of {done.still}" if done.still is not None else ""
        return f"{target} {'is resumed' if done.ended else 'was not paused'}{still}"

    async def _retry(self, form: Form) -> str:
        target = form.get("target", "")
        state, stores, now = self._parts.state, self._parts.stores(), self._parts.clock.now()
        released = await in_background(lambda: control.retry(state, stores, target, ["*"], now, "page"))
        self._parts.wake()
        return f"{target}: {count(len(released), 'entry', 'entries')} will be tried again"

    async def _undo(self, form: Form) -> str:
        if self._parts.undo is None:
            raise UsageError("undo is not available here; use kvsync undo")
        return await self._parts.undo.submit(form.get("run", ""), form.get("commit", ""), form.get("digest", ""))

    async def _pass(self, form: Form) -> str:
        target = form.get("target", "")
        if not target:
            self._parts.hook.request()
            return "a pass over all targets was requested"
        store, namespace = parse_target(target, self._parts.stores())
        if namespace is None or not self._parts.request_pass(Target(store, namespace)):
            raise UsageError(f"{target}: this process makes no passes over it; start a pass over all targets instead")
        return f"a pass over {target} was requested"


async def _form(request: web.Request) -> Form:
    """The fields of a form, the first of each name."""
    fields = parse_qs((await body_of(request)).decode("utf-8", "replace"), max_num_fields=20)
    return {name: values[0] for name, values in fields.items()}


def _back(form: Form) -> str:
    """Where to go afterwards: only to a page of this server."""
    back = form.get("back", "/")
    inside = back.startswith("/") and not back.startswith("//") and "\\" not in back
    return back if inside and escape_text(back) == back else "/"


def _to(path: str) -> web.Response:
    return web.Response(status=303, headers={"Location": path})
