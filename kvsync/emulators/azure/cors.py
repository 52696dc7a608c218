"""Headers that let pages in a browser read answers, and the answer to a preflight request."""

from __future__ import annotations

from typing import Final

from kvsync.emulators.model import Answer, Request

_METHODS: Final = "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"
_EXPOSED: Final = (
    *("DNT", "X-CustomHeader", "Keep-Alive", "User-Agent", "X-Requested-With", "If-Modified-Since", "Cache-Control"),
    *("Content-Type", "Authorization", "x-ms-client-request-id", "x-ms-useragent", "x-ms-content-sha256", "x-ms-date"),
    *("host", "Accept", "Accept-Datetime", "Date", "If-Match", "If-None-Match", "Sync-Token"),
    *("x-ms-return-client-request-id", "ETag", "Last-Modified", "Link", "Memento-Datetime", "retry-after-ms"),
    *("x-ms-request-id", "x-ms-client-session-id", "x-ms-effective-locale", "WWW-Authenticate"),
)
"""As recordings of the service show them."""

SHARED: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Expose-Headers": ", ".join(_EXPOSED),
}
"""On every answer."""


def preflight(request: Request) -> Answer:
    """Allow what the page asks for: every method of the API, and the headers that it names. No credential is needed."""
    headers = {"Access-Control-Allow-Methods": _METHODS, "Access-Control-Max-Age": "1728000"}
    if wanted := request.headers.get("Access-Control-Request-Headers"):
        headers["Access-Control-Allow-Headers"] = wanted
    return Answer(204, headers)
