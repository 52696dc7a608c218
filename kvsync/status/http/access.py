"""Authorization of HTTP requests.

    path                      on loopback       where others can reach it
    ───────────────────────   ───────────────   ─────────────────────────────
    /healthz, /readyz         everybody         everybody
    /sign-in, style, icons    everybody         everybody
    all other reading         everybody         with the token
    what changes something    with the token    with the token
    /sign-in, /act, …         forms of the page: with a session, see `session`
    /hooks/reconcile          with the hook's secret, see `hooks`

On loopback the `Host` of a request must be this machine: a page in a browser that had its name pointed here (DNS rebinding)
names its own host. Reading is also allowed to a browser that shows the token as a password; changing is not, because a browser
shows passwords to whatever page makes it ask.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections import OrderedDict
from typing import Final

from aiohttp import web

from kvsync.config.values import is_loopback
from kvsync.logs import get_logger
from kvsync.status.http.answers import failure
from kvsync.status.http.session import Sessions
from kvsync.status.http.shared_secret import Secret
from kvsync.util.clock import Clock

OPEN: Final = frozenset({"/healthz", "/readyz", "/sign-in"})
READING: Final = frozenset({"GET", "HEAD"})

_log = get_logger()


class RefusalLimiter:
    """How many refusals an address gets before it is answered 429: ten at once, then one in six seconds."""

    MOST: Final = 10
    EVERY: Final = 6.0
    ADDRESSES: Final = 1024

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()  # by address: refusals held against it, when

    def spend(self, address: str) -> bool:
        """Note one more refusal; False when there were too many."""
        now = self._clock.monotonic()
        spent, at = self._spent.pop(address, (0.0, now))
        spent = max(0.0, spent - (now - at) / self.EVERY)
        is_left = spent <= self.MOST - 1
        self._spent[address] = (spent + 1 if is_left else spent, now)
        if len(self._spent) > self.ADDRESSES:
            self._spent.popitem(last=False)
        return is_left


class Access:
    """Decides about each request. `token` and `loopback` may change while the server runs."""

    def __init__(self, clock: Clock) -> None:
        self.token: Secret | None = None
        self.loopback = True
        self.sessions: Sessions | None = None
        self._patience = RefusalLimiter(clock)

    def refuse(self, request: web.BaseRequest) -> web.Response | None:
        """The answer to a request that may not be made, None to one that may. Raises KvsyncError when the token cannot be
        read."""
        if request.path in OPEN and request.method in READING:
            return None
        if request.method in READING and (self.loopback or self._is_signed_in(request) or _is_asset(request)):
            return None
        if self.token is None:
            message = "set run.token in kvsync.yaml to allow this over HTTP, or use the command line"
            return self.denied(request, failure(403, message), "no token is configured")
        return None if self._is_shown(request, self.token) else self._unauthorized(request)

    def misdirected(self, request: web.BaseRequest) -> web.Response | None:
        """The answer to a request that names another host, None to one that does not. A request without a
        host does not come from a browser."""
        host = request.headers.get("Host")  # `request.host` would ask the resolver where there is none, and wait
        if not self.loopback or host is None or _is_here(host):
            return None
        message = f"unknown host {host[:100]!r}; on loopback, use localhost or 127.0.0.1"
        return self.denied(request, failure(421, message), "host")

    def denied(self, request: web.BaseRequest, response: web.Response, reason: str) -> web.Response:
        """Log a refusal. An address with many refusals gets 429 instead."""
        remote = request.remote or ""
        if not self._patience.spend(remote):
            return failure(429, "too many refused requests from this address", {"Retry-After": "6"})
        _log.warning("http.denied", remote=remote, method=request.method[:20], path=request.path[:200], reason=reason)
        return response

    def _unauthorized(self, request: web.BaseRequest) -> web.Response:
        basic = ', Basic realm="kvsync", charset="UTF-8"' if request.method in READING else ""
        headers = {"WWW-Authenticate": f'Bearer realm="kvsync"{basic}'}
        message = "send the token of run.token: Authorization: Bearer TOKEN"
        reason = "token is wrong" if "Authorization" in request.headers else "token is missing"
        return self.denied(request, failure(401, message, headers), reason)

    def _is_signed_in(self, request: web.BaseRequest) -> bool:
        return self.sessions is not None and self.sessions.of(request, self.token) is not None

    @staticmethod
    def _is_shown(request: web.BaseRequest, token: Secret) -> bool:
        shown = bearer(request)
        if shown is None and request.method in READING:
            shown = _password(request)
        return shown is not None and token.matches(shown)


def _is_asset(request: web.BaseRequest) -> bool:
    """True for style sheets and icons, which reveal nothing, and which the page to sign in needs."""
    return request.path.startswith("/assets/") and request.path.endswith((".css", ".svg"))


def bearer(request: web.BaseRequest) -> str | None:
    """The token after `Authorization: Bearer`."""
    return _credentials(request, "bearer")


def _password(request: web.BaseRequest) -> str | None:
    """The password of `Authorization: Basic`, whatever the user."""
    encoded = _credentials(request, "basic")
    if encoded is None:
        return None
    try:
        return b64decode(encoded, validate=True).decode().partition(":")[2]
    except (Base64Error, ValueError):
        return None


def _credentials(request: web.BaseRequest, scheme: str) -> str | None:
    given, _, rest = request.headers.get("Authorization", "").partition(" ")
    return rest.strip() if given.lower() == scheme and rest.strip() else None


def _is_here(host: str) -> bool:
    """True for a `Host` that names this machine, with or without a port."""
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit() or host.endswith("]"):
        name = host
    return is_loopback(name.removeprefix("[").removesuffix("]").lower().removesuffix("."))
