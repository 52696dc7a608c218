"""HTTP requests and responses."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from kvsync.errors import AuthError, StoreError, TransientError

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class RateLimiter(Protocol):
    """Who may send now."""

    async def take(self) -> None:
        """Wait for a turn."""

    def observe(self, headers: Mapping[str, str]) -> None:
        """Take in what an answer says of the pace (names of headers in lower case)."""


class BodySink(Protocol):
    """Where a long body goes."""

    @property
    def size(self) -> int:
        """Bytes taken since it was last begun."""

    def begin(self) -> None:
        """Forget what was taken: the call is sent, perhaps again."""

    def write(self, piece: bytes) -> None:
        """Take one piece. Raises PermanentError when it is too much."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `target` is path and query exactly as they go on the request line; `what` says in words what it is for, with
    neither values nor secrets in it.

    `expects` are the statuses that are answers and not failures. `reads` says that a method which usually writes does
    not here. `is_json` asks for a body that is JSON wherever the status is 200. `is_secret` says that it sends a sensitive
    value: then the server's own words are not repeated. `limiter` is waited for before each time it is
    sent, where calls are counted by what they are about. `sink` takes the body of a 200 instead of the answer, piece by piece;
    then the time that a call may take counts from the last piece.
    """

    method: str
    target: str
    what: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    expects: Container[int] = (200,)
    reads: bool = False
    is_json: bool = False
    is_secret: bool = False
    limiter: RateLimiter | None = field(default=None, repr=False, compare=False)
    sink: BodySink | None = field(default=None, repr=False, compare=False)

    @property
    def writes(self) -> bool:
        """True when this may change something."""
        return not self.reads and self.method not in _READING


@dataclass(frozen=True, slots=True)
class Response:
    """What came back. `headers` have names in lower case, several of one name joined by commas. `data` is the body of a call
    that asked for JSON, `host` who sent it (host and port)."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    data: Any = field(default=None, repr=False)
    host: str = ""

    def problem(self) -> Mapping[str, Any]:
        """The body as a JSON object, as most APIs explain an error; empty when it is none."""
        try:
            data = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}


class NotSentError(TransientError):
    """No connection, so that nothing can have happened."""


class NotAnsweredError(TransientError):
    """The request may have arrived, but no whole answer came."""


class StaleCredentialError(AuthError):
    """The credential was refused, and one made again may be taken: what a 401 says elsewhere. Nothing was done."""


@dataclass(frozen=True, slots=True)
class ErrorText:
    """Why a credential was refused. `cause` is the part that is wrong (credential, clock, permission), `detail` says what is
    wrong with it, `hint` what to do."""

    cause: str
    detail: str
    hint: str


class Credentials(Protocol):
    """Proves who we are, in the headers of a call."""

    async def sign(self, call: Request, host: str) -> Mapping[str, str]:
        """The headers that this very call needs, made at the moment it is sent. Raises StoreError."""

    async def renew(self) -> bool:
        """Fetch the credential again after it was refused; False when it is the same as before. Raises StoreError."""

    def explain(self, call: Request, answer: Response) -> ErrorText:
        """Why a 401 or 403 came back."""


class ErrorMapper(Protocol):
    """What one API means by an answer where it is not what everybody means by it."""

    def __call__(self, call: Request, answer: Response, /) -> StoreError | None:
        """The error that this answer is, None to judge it as usual."""
