"""Responses: results, API errors with codes, and the pages of the gateway."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from kvsync.emulators.model import Answer

MESSAGES: Final[Mapping[int, str]] = {
    1: "Fatal error",
    2: "Internal error",
    4: "DB error",
    5: "Billing failed",
    100: "Authorization failed",
    101: "Invalid arguments",
    102: "Missing 'cmd' parameter",
    103: "Unknown command",
    104: "Forbidden command",
    107: "Invalid application name",
    115: "The 'account_id' parameter is invalid",
    116: "The 'application_id' parameter is invalid",
    127: "Insufficient money",
    131: "The account is not activated",
    134: "Required parameter is empty: '{}'",
    135: "Session timeout",
    137: "The account is not logged",
    161: "The 'session_id' parameter is invalid",
    162: "try later..",
    195: "Unsupported batch command",
    196: "Too many batch commands",
    281: "Account verification required",
    282: "Account verification in progress",
    314: "Concurrent resource limit exceeded",
    340: "Rate limit exceed",
    341: "Record is not found by ID",
    416: "Repeat after 1 seconds",
    454: "The token TTL exceeds the maximum limit.",
    455: "Token issued in the future.",
    456: "The token has expired.",
    458: "Specify only one of the following parameters: {}",
    477: "The '{}' parameter length must not exceed {} symbols.",
    484: "HTTP request is rejected due to probable automatic request resend. Try again later.",
    485: "Specify the '{}' parameter",
    492: "The '{}' parameter is forbidden.",
    496: "The '{}' parameter is invalid.",
    497: "{} should be in range of {}..{}",
    499: "The '{}' parameter length must be less than {}.",
    515: "The same operation has been performed recently.",
    546: "Invalid Application IDs.",
    558: "Application is not found.",
}
_AS_FAULTS: Final = {400: 101, 401: 100, 403: 104, 429: 340, 500: 2}
_MATCHING: Final = {
    401: (100, 135, 161, 454, 455, 456),
    403: (104,),
    404: (341, 546, 558),
    429: (162, 314, 340, 416, 484, 515),
    500: (1, 2, 4),
}
_PAGE: Final = """<html>
<head><title>{title}</title></head>
<body>
<center><h1>{title}</h1></center>
<hr><center>nginx</center>
</body>
</html>
"""


class Refused(Exception):
    """The request is refused with a code of the API; `details` go into its message."""

    def __init__(self, code: int, *details: object) -> None:
        super().__init__(code)
        self.code, self.message = code, MESSAGES[code].format(*details)


def done(**members: Any) -> Answer:
    """A success."""
    return _json(200, members)


def failed(refusal: Refused, status: int = 200) -> Answer:
    """A refusal in its envelope, under this HTTP status."""
    return _json(status, {"error": {"code": refusal.code, "msg": refusal.message}})


def matching(code: int) -> int:
    """The HTTP status that says roughly the same as a code of the API."""
    return next((status for status, codes in _MATCHING.items() if code in codes), 400)


def injected(number: int, hidden: int) -> Answer:
    """The answer of a fault: a code of the API under 200, or an HTTP status with a code or with the gateway's page.

    `hidden` is the code that a fault of the number 200 has.
    """
    code = hidden if number == 200 else number
    if code in MESSAGES:
        return failed(Refused(code, "key", 0, 0))
    shown = _AS_FAULTS.get(number)
    return page(number) if shown is None else failed(Refused(shown), number)


def page(status: int) -> Answer:
    """What the gateway says on its own."""
    known = status in set(HTTPStatus)
    title = f"{status} {HTTPStatus(status).phrase}" if known else str(status)
    return Answer(status, {"Content-Type": "text/html"}, _PAGE.format(title=title).encode())


def _json(status: int, document: Mapping[str, Any]) -> Answer:
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(status, {"Content-Type": "application/json"}, body)
