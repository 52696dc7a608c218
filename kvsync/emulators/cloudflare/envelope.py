"""Responses: the envelope around results and errors, and the HTML pages of the edge."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from kvsync.emulators.model import Answer

_PAGE: Final = """<!DOCTYPE html>
<html lang="en-US">
<head><title>{title}</title><meta charset="UTF-8" /></head>
<body><h1>{heading}</h1><p>Error code {status}</p><p>Cloudflare Ray ID: <strong>{ray}</strong></p></body>
</html>
"""
_HEADINGS: Final = {
    403: "Sorry, you have been blocked",
    520: "Web server is returning an unknown error",
    521: "Web server is down",
    522: "Connection timed out",
    523: "Origin is unreachable",
    524: "A timeout occurred",
}
EDGE: Final = (403, 502, 504, *range(520, 531))
"""Statuses that come from the edge, as a page for people and not as JSON."""


class Refused(Exception):
    """The request is refused with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def dump(document: Any) -> bytes:
    """JSON as it goes over the wire, and as limits count it: compact, in UTF-8."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def done(result: Any, info: Mapping[str, Any] | None = None, messages: tuple[Mapping[str, Any], ...] = ()) -> Answer:
    """A success; lists have `info` next to them."""
    document = {"success": True, "errors": [], "messages": messages, "result": result}
    return _json(200, document | ({"result_info": info} if info is not None else {}))


def failed(status: int, *errors: tuple[int, str] | Mapping[str, Any], **headers: str) -> Answer:
    """A failure with its errors, each a code and a message; in names of headers `_` represents `-`."""
    items = [{"code": error[0], "message": error[1]} if isinstance(error, tuple) else error for error in errors]
    document = {"success": False, "errors": items, "messages": [], "result": None}
    return _json(status, document, {name.replace("_", "-"): value for name, value in headers.items()})


def refused(status: int, code: int, message: str, **headers: str) -> Refused:
    """A failure to be raised."""
    return Refused(failed(status, (code, message), **headers))


def page(status: int) -> Answer:
    """What the edge says on its own."""
    heading = _HEADINGS.get(status) or HTTPStatus(status).phrase
    ray = secrets.token_hex(8)
    text = _PAGE.format(title=f"{status}: {heading}", heading=heading, status=status, ray=ray)
    return Answer(status, {"Content-Type": "text/html; charset=UTF-8", "CF-RAY": f"{ray}-AMS"}, text.encode())


def _json(status: int, document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, {"Content-Type": "application/json", **(headers or {})}, dump(document))
