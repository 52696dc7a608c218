"""Sessions of people who entered the token on the page, and the proof that a form was sent by a page of this server.

A session is a random name in a cookie that no script can read and no other site can send (`HttpOnly`, `SameSite=Strict`). It
ends after eight hours, with the daemon, when the token changes, and when its person signs out. Each has a second random text,
which every form carries. Browsers say where a form comes from (`Sec-Fetch-Site`, `Origin`), and one from elsewhere is refused
before it is read.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from dataclasses import dataclass, field
from secrets import token_bytes, token_urlsafe
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from kvsync.status.http.shared_secret import Secret
from kvsync.util.clock import Clock
from kvsync.util.escaping import to_bytes

COOKIE: Final = "kvsync_session"
LIFETIME: Final = 8 * 3600.0
"""Seconds after which a person must enter the token again."""

MOST: Final = 256
"""Sessions at a time; one more ends the oldest."""

_NOTE: Final = 1_000


@dataclass(slots=True)
class Session:
    """One session: until when it lasts (monotonic), the token of its forms, and the note on its next page."""

    until: float
    proof: bytes = field(repr=False)
    csrf: str = field(repr=False)
    note: str = ""
    is_bad: bool = False

    def flash(self, note: str, *, is_bad: bool = False) -> None:
        """Show this text on the next page."""
        self.note, self.is_bad = note[:_NOTE], is_bad

    def take_note(self) -> tuple[str, bool]:
        """The note for the next page, once."""
        shown, self.note = (self.note, self.is_bad), ""
        return shown


class Sessions:
    """The sessions of one server."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._key = clock, token_bytes(32)
        self._open: OrderedDict[str, Session] = OrderedDict()

    def begin(self, response: web.StreamResponse, secret: Secret, *, is_secure: bool) -> Session:
        """Open a session for who has shown the secret, and put its cookie on a response. Raises AuthError."""
        name = token_urlsafe(32)
        session = Session(self._clock.monotonic() + LIFETIME, self._proof(secret), token_urlsafe(32))
        self._open[name] = session
        while len(self._open) > MOST:
            self._open.popitem(last=False)
        flags = {"httponly": True, "samesite": "Strict", "secure": is_secure, "max_age": int(LIFETIME)}
        response.set_cookie(COOKIE, name, path="/", **flags)  # type: ignore[arg-type]
        return session

    def of(self, request: web.BaseRequest, secret: Secret | None) -> Session | None:
        """The session that a request belongs to, None without one. Raises AuthError when the token cannot be read."""
        name = request.cookies.get(COOKIE, "")
        session = self._open.get(name)
        if session is None or secret is None:
            return None
        if session.until <= self._clock.monotonic() or not hmac.compare_digest(session.proof, self._proof(secret)):
            del self._open[name]
            return None
        return session

    def end(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Forget the session of a request."""
        self._open.pop(request.cookies.get(COOKIE, ""), None)
        response.del_cookie(COOKIE, path="/")

    def _proof(self, secret: Secret) -> bytes:
        """Represents the token that was shown, so that another token ends the session."""
        return hmac.digest(self._key, to_bytes(secret.text()), "sha256")


def is_from_here(request: web.BaseRequest) -> bool:
    """True for a form that a page of this server sent. Every browser says so in one of two headers."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("Origin", "")
    host = request.headers.get("Host", "")
    return bool(host) and urlsplit(origin).netloc == host


def is_genuine(session: Session, shown: str) -> bool:
    """True when a form carries the text of its session."""
    return hmac.compare_digest(to_bytes(shown), session.csrf.encode())
