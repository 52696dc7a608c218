"""Hints for failed responses, by HTTP status."""

from __future__ import annotations

from http import HTTPStatus
from math import ceil
from typing import Final

CHECK_ENDPOINT: Final = "check the endpoint"
TRY_LATER: Final = "try again later, or check the status page of the service"
CHECK_PATH: Final = "check the network and the proxies in front of the service, or try again later"
"""For a connection that broke, and for what something between kvsync and the service answered."""

_LONG: Final = 900.0
"""Seconds; a rest up to this is not worth a word."""

_AN_HOUR: Final = 3_600.0
_LONGEST: Final = 720
"""Hours; longer rests are not shown exactly."""

_BY_STATUS: Final = {
    HTTPStatus.NOT_MODIFIED: "a cache answered in place of the service; check the proxies in front of it",
    HTTPStatus.BAD_REQUEST: "check the endpoint and the options of the store",
    HTTPStatus.PAYMENT_REQUIRED: "check the bill and the usage limits of the account",
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: "check the credential of the proxy",
    HTTPStatus.REQUEST_TIMEOUT: TRY_LATER,
    HTTPStatus.CONFLICT: "another program is changing it at the same time; try again",
    HTTPStatus.PRECONDITION_FAILED: "another program is changing it at the same time; try again",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "make the values smaller, or raise the size limit of the proxies in front of it",
    HTTPStatus.LOCKED: "unlock it in the service, or try again later",
    HTTPStatus.TOO_EARLY: TRY_LATER,
    HTTPStatus.TOO_MANY_REQUESTS: "too many requests; try again later",
}


def remedy(status: int, wait: float | None = None) -> str:
    """Return what to do about a response. `wait` is what the server asks to wait, in seconds."""
    if wait is not None and wait > _LONG:
        return f"the service requested a wait of {_hours(wait)}; wait, or try again to see if it answers earlier"
    if status in _BY_STATUS:
        return _BY_STATUS[HTTPStatus(status)]
    if 300 <= status < 400:
        return "the endpoint redirects; correct the endpoint"
    return TRY_LATER if status >= 500 else CHECK_ENDPOINT


def _hours(seconds: float) -> str:
    hours = ceil(min(seconds / _AN_HOUR, _LONGEST + 1))
    if hours > _LONGEST:
        return f"more than {_LONGEST} h"
    return f"up to {hours} h"
