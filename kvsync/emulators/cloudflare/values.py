"""Value and metadata of one key."""

from __future__ import annotations

from typing import Any, Final

from kvsync.emulators.cloudflare.checks import (
    MALFORMED,
    check_metadata,
    check_name,
    check_value,
    expiry,
    parse,
    refusal,
)
from kvsync.emulators.cloudflare.contents import Contents, View
from kvsync.emulators.cloudflare.envelope import done, refused
from kvsync.emulators.cloudflare.model import Pair
from kvsync.emulators.model import Answer, Request
from kvsync.emulators.multipart import is_multipart, parts

GET, PUT, REMOVE = "get", "put", "remove key"
LONG: Final = 414  # the status of a name in a path that is too long


def get(contents: Contents, name: str, view: View) -> Answer:
    """The bytes, in no envelope. No content type is true of them."""
    found = _existing(contents, name, view)
    headers = {"Content-Type": "application/octet-stream"}
    if found.expiration is not None:
        headers["expiration"] = str(found.expiration)
    return Answer(200, headers, found.value)


def get_metadata(contents: Contents, name: str, view: View) -> Answer:
    """The metadata; null for a key that has none."""
    return done(_existing(contents, name, view).metadata)


def read_pair(name: str, request: Request, now: float) -> Pair:
    """What a PUT wants the key to hold: value, metadata and end together. Raises Refused."""
    check_name(PUT, name, LONG)
    asked = dict(request.query)
    value, metadata = _content(request)
    check_value(PUT, value)
    check_metadata(PUT, metadata)
    return Pair(value, metadata, expiry(PUT, asked.get("expiration_ttl"), asked.get("expiration"), now))


def _content(request: Request) -> tuple[bytes, Any]:
    content_type = request.headers.get("Content-Type", "")
    if not is_multipart(content_type):
        return request.body, None
    form = _form(content_type, request.body)
    if "value" not in form:
        raise refusal(PUT, 400, MALFORMED, "Missing value field")
    try:
        return form["value"], parse(form["metadata"]) if "metadata" in form else None
    except ValueError:
        raise refusal(PUT, 400, 10147, "metadata must be valid json") from None


def _form(content_type: str, body: bytes) -> dict[str, bytes]:
    try:
        return parts(content_type, body)
    except ValueError as error:
        raise refused(400, MALFORMED, f"could not parse the form: '{error}'") from None


def _existing(contents: Contents, name: str, view: View) -> Pair:
    found = contents.get(check_name(GET, name, LONG), view)
    if found is None:
        raise refusal(GET, 404, 10009, "key not found")
    return found
