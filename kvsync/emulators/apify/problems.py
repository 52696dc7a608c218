"""Error responses, with both names from the API's documentation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from kvsync.emulators.model import Answer


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong. `seed` is the type as older documentation names it, `docs` as newer does; `seed_message` is the older
    text, where there is one."""

    status: int
    seed: str
    docs: str
    message: str
    seed_message: str | None = None

    def answer(self, *, newer: bool) -> Answer:
        """As the API says it, in one generation of names."""
        message = self.message if newer else self.seed_message or self.message
        error = {"type": self.docs if newer else self.seed, "message": message}
        return _json(self.status, {"error": error})


class Refused(Exception):
    """The request is refused for this."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.status)
        self.problem = problem


def _same(status: int, type_: str, message: str) -> Problem:
    return Problem(status, type_, type_, message)


_SEED_TOKEN: Final = "Authentication token is not valid."  # noqa: S105
NO_TOKEN: Final = Problem(
    401, "token-not-valid", "token-not-provided", "Authentication token was not provided", _SEED_TOKEN
)
BAD_TOKEN: Final = Problem(
    *(401, "token-not-valid", "user-or-token-not-found"),
    "User was not found or authentication token is not valid",
    _SEED_TOKEN,
)
NO_CREDIT: Final = _same(402, "limit-reached", "The usage limit of the account is reached")
FORBIDDEN: Final = Problem(
    *(403, "permission-denied", "insufficient-permissions"),
    "Insufficient permissions for the key-value store. Make sure you're passing a correct API token and that it has the "
    "required permissions.",
)
BAD_SIGNATURE: Final = Problem(
    403, "permission-denied", "invalid-signature", "The signature is not valid or has expired"
)
NO_STORE: Final = _same(404, "record-not-found", "Key-value Store was not found")
NO_USER: Final = _same(404, "record-not-found", "User was not found")
NO_RECORD: Final = _same(404, "record-not-found", "Record was not found")
NO_PAGE: Final = _same(404, "page-not-found", "There is no API endpoint at this URL")
NAME_TAKEN: Final = Problem(
    409, "record-not-unique", "name-not-unique", "Another key-value store of this user has this name"
)
UNSUPPORTED_ENCODING: Final = _same(
    415, "unsupported-content-encoding", "Content-Encoding must be one of gzip, deflate, br and identity"
)
BAD_KEY: Final = _same(
    400,
    "invalid-record-key",
    "Record key contains invalid character: it has 1 to 256 of a-zA-Z0-9!-_.'() and is neither . nor ..",
)
_PHRASES: Final = frozenset(status.value for status in HTTPStatus)
ENCODED_HTML: Final = Problem(
    400, "invalid-input", "content-encoding-forbidden-for-html", "HTML must be sent without Content-Encoding"
)


def invalid(message: str, docs: str = "invalid-value") -> Refused:
    """Something in the request makes no sense (400), to be raised."""
    return Refused(Problem(400, "invalid-input", docs, message))


def too_large(limit: int, size: int) -> Refused:
    """The body is too large (413), to be raised; sizes are in bytes."""
    text = f"The POST payload is too large (limit: {limit} bytes, actual length: {size} bytes)."
    return Refused(_same(413, "request-too-large", text))


def wrong_method(methods: tuple[str, ...]) -> Refused:
    """The method is none of those that there are (405), to be raised."""
    listed = ",".join(("OPTIONS", *methods))
    text = f"This API end-point can only be accessed using the following HTTP methods: {listed}"
    return Refused(_same(405, "method-not-allowed", text))


def too_fast(limit: int, unit: str = "second") -> Refused:
    """More requests than allowed (429), to be raised."""
    text = f"You have exceeded the rate limit of {limit} requests per {unit}"
    seed = "You have exceeded the rate limit. Please try again later."
    return Refused(Problem(429, "rate-limit-exceeded", "rate-limit-exceeded", text, seed))


def of_status(status: int) -> Problem:
    """What the API says with a status when a fault asks for it."""
    known = (NO_TOKEN, BAD_TOKEN, NO_CREDIT, FORBIDDEN, NO_RECORD, NAME_TAKEN, UNSUPPORTED_ENCODING)
    named = {problem.status: problem for problem in known} | {
        400: Problem(400, "invalid-input", "invalid-request", "The request is not valid"),
        413: too_large(9_437_184, 10_485_760).problem,
        429: too_fast(200).problem,
    }
    unnamed = "internal-server-error" if status >= 500 else "invalid-request"
    return named.get(status) or _same(status, unnamed, HTTPStatus(status).phrase if status in _PHRASES else "Error")


def done(data: Any, status: int = 200, **headers: str) -> Answer:
    """A success with its data."""
    return _json(status, {"data": data}, headers)


def written(location: str) -> Answer:
    """A record was written, and lies there."""
    return _json(201, {}, {"Location": location})


def _json(status: int, document: Any, headers: Mapping[str, str] | None = None) -> Answer:
    body = json.dumps(document, separators=(",", ":")).encode()
    return Answer(status, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, body)
