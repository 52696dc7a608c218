"""HTTP responses: JSON, errors in the format of `-o json`, and security headers."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from kvsync.errors import AuthError, InvalidInput, KvsyncError, NotApproved, StandbyError, StateDirError, UsageError
from kvsync.util.escaping import encode_json

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every answer, unless it says otherwise itself."""

_STATUSES: Final = (
    (UsageError, 400),
    (InvalidInput, 400),
    (NotApproved, 404),
    (StandbyError, 409),
    (StateDirError, 503),
    (AuthError, 503),
)

_KINDS: Final = {
    400: "usage-error",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    408: "timeout",
    413: "too-large",
    421: "wrong-host",
    429: "too-many-requests",
    503: "unavailable",
}


def answer(document: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON document, with a line end for those who read it in a terminal."""
    return text(encode_json(document) + "\n", "application/json", status, headers)


def text(body: str, content_type: str, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Text in UTF-8."""
    return web.Response(text=body, content_type=content_type, charset="utf-8", status=status, headers=headers)


def failure(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """What was wrong with a request, as the document `kvsync.error/1`."""
    return answer(_document(status, message), status, headers)


def failure_of(error: KvsyncError) -> web.Response:
    """An error that kvsync raised on purpose."""
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    return answer(_document(status, str(error), code=error.code.value), status)


def _document(status: int, message: str, **more: str) -> dict[str, Any]:
    described = {"kind": _KINDS.get(status, "failed"), **more, "message": message, "problems": []}
    return {"schema": "kvsync.error/1", "error": described}
