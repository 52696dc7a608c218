"""Authentication: API tokens, and the older email address with global key."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

from kvsync.emulators.cloudflare.envelope import Refused, failed, refused
from kvsync.emulators.model import Request

_MISSING: Final = (9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers")


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Checks the credentials of requests. With `anonymous`, requests without a credential pass."""

    token: str
    reader_token: str
    email: str
    key: str
    anonymous: bool = False

    def check(self, request: Request, *, writes: bool) -> None:
        """Raise Refused for an unknown caller, and for one that may only read."""
        headers = request.headers
        if "Authorization" in headers:
            self._bearer(headers["Authorization"], request, writes=writes)
        elif "X-Auth-Email" in headers or "X-Auth-Key" in headers:
            self._legacy(headers.get("X-Auth-Email", ""), headers.get("X-Auth-Key", ""))
        elif not self.anonymous:
            raise Refused(failed(401, _MISSING))

    def _bearer(self, header: str, request: Request, *, writes: bool) -> None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _bad_header(6111, "Authorization")
        if _same(token.strip(), self.token):
            return
        if not _same(token.strip(), self.reader_token):
            raise refused(401, 10000, "Authentication error")
        if writes:
            raise _not_allowed(request.method)

    def _legacy(self, email: str, key: str) -> None:
        if not email or not key:
            raise Refused(failed(401, _MISSING))
        if len(key) != len(self.key):
            raise _bad_header(6103, "X-Auth-Key")
        if not (_same(email, self.email) and _same(key, self.key)):
            raise refused(403, 9103, "Unknown X-Auth-Key or X-Auth-Email")


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), known.encode())


def _bad_header(code: int, name: str) -> Refused:
    chain = [{"code": code, "message": f"Invalid format for {name} header"}]
    return Refused(failed(400, {"code": 6003, "message": "Invalid request headers", "error_chain": chain}))


def _not_allowed(method: str) -> Refused:
    """Return the error for a write with a read-only token, which depends on the method."""
    if method == "POST":
        return refused(403, 10000, "Authentication error")
    return refused(405, 10000, f"{method} method not allowed for the api_token authentication scheme")
