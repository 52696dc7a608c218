"""HTTP requests and responses."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from kvsync.errors import AuthError, ErrorCode, StoreError, TransientError

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class RateLimiter(Protocol):
    """Decides when a request can be sent."""

    async def take(self) -> None:
        """Wait for a turn."""

    def observe(self, headers: Mapping[str, str]) -> None:
        """Adapt to what a response says about the rate (names of headers in lower case)."""


class BodySink(Protocol):
    """Receiver of a long body."""

    @property
    def size(self) -> int:
        """Bytes received since the last `begin`."""

    def begin(self) -> None:
        """Discard what was received: the request is sent, perhaps again."""

    def write(self, piece: bytes) -> None:
        """Receive one chunk. Raises PermanentError if it is too much."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    `target` is path and query exactly as they go on the request line; `what` says what the request is for, without values or
    secrets. `expects` are the statuses that are not failures. `reads` says that a method which usually writes only reads here.
    It is not sent after `not_after` (seconds of the monotonic clock), however long it waits for its turn.
    With `is_json`, the body of a 200 must be JSON. `is_secret` says that a sensitive value is sent: then the server's message
    is not repeated. Each sending waits for `limiter`, for APIs that count requests by subject. `sink` receives the body of a
    200 in chunks; then the timeout counts from the last chunk.
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
    not_after: float | None = None
    limiter: RateLimiter | None = field(default=None, repr=False, compare=False)
    sink: BodySink | None = field(default=None, repr=False, compare=False)

    @property
    def writes(self) -> bool:
        """True if this may change something."""
        return not self.reads and self.method not in _READING


@dataclass(frozen=True, slots=True)
class Response:
    """One response. Names of `headers` are in lower case; several of one name are joined by commas. `data` is the decoded body
    of an `is_json` request, `host` the sender (host and port)."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    data: Any = field(default=None, repr=False)
    host: str = ""

    def problem(self) -> Mapping[str, Any]:
        """The body as a JSON object, the form in which most APIs explain an error; empty if it is not one."""
        try:
            data = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}


class NotSentError(TransientError):
    """No connection, so nothing can have happened."""


class NotAnsweredError(TransientError):
    """The request may have arrived, but no complete response came."""


class AnswerTooLongError(NotAnsweredError):
    """The answer exceeds a limit. The same request would get one that is too long again."""

    code = ErrorCode.ANSWER_TOO_LONG


class StaleCredentialError(AuthError):
    """The credential was refused, but a renewed one may be accepted, as for a 401. Nothing was done."""


@dataclass(frozen=True, slots=True)
class ErrorText:
    """Why a credential was refused: `cause` is the part that is wrong (credential, clock, permission), `detail` says what is
    wrong with it, `hint` what to do."""

    cause: str
    detail: str
    hint: str


class Credentials(Protocol):
    """Authenticates requests by their headers."""

    async def sign(self, call: Request, host: str) -> Mapping[str, str]:
        """The headers for this request, made when it is sent. Raises StoreError."""

    async def renew(self, refused: Mapping[str, str] | None = None) -> bool:
        """Fetch the credential again after the headers that were `refused` (None: those of the last `sign`), unless another
        call has done so since they were made; False if it has not changed. Raises StoreError."""

    def explain(self, call: Request, answer: Response) -> ErrorText:
        """Explain a 401 or 403."""


class SessionHeaders(Protocol):
    """Headers that carry something from the responses of an API to later requests, such as the version that was seen last."""

    def headers(self) -> Mapping[str, str]:
        """The headers of the next request."""

    def observe(self, headers: Mapping[str, str]) -> None:
        """Keep what a response says (names of headers in lower case)."""


class ErrorMapper(Protocol):
    """Interprets the responses of one API where they deviate from common HTTP semantics."""

    def __call__(self, call: Request, answer: Response, /) -> StoreError | None:
        """The error that a response is; None to treat it as HTTP says."""
