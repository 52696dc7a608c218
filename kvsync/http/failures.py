"""Maps HTTP statuses to errors, for all stores.

    status               reading             writing
    ──────────────────   ─────────────────   ─────────────────────────────────────────────
    401, 403             AuthError           AuthError
    408, 425             TransientError      LostAnswer
    429, 503             TransientError      TransientError (turned away, nothing written)
    other 5xx            TransientError      LostAnswer (written or not)
    3xx and other 4xx    PermanentError      PermanentError, LostAnswer where the body is not a JSON object

No connection is a TransientError, a connection that broke before the answer a LostAnswer where something is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from kvsync.errors import AuthError, LostAnswer, PermanentError, StoreError, TransientError
from kvsync.http.model import AnswerTooLongError, Credentials, NotAnsweredError, Request, Response
from kvsync.http.remedies import CHECK_PATH, remedy
from kvsync.http.retry_after import retry_after
from kvsync.util.escaping import clip, escape_text
from kvsync.util.redaction import REDACTOR

_TURNED_AWAY: Final = frozenset({429, 503})
_UNDECIDED: Final = frozenset({408, 425})
_WAITED_FOR: Final = _TURNED_AWAY | _UNDECIDED
_LONGEST: Final = 300
"""Characters of a server's message that are repeated."""

_NOT_SHOWN: Final = "the response is not shown, because a sensitive value was sent"

NOT_JSON: Final = "a body that is not JSON: truncated, or not from this API; check the endpoint"

_CODES: Final = 100_000
"""Numbers from here on are not error codes of an API, and may be a value."""

_LONGEST_READ: Final = 4000
"""Characters of a server's message that are read."""

_FIRST: Final = 60
"""Characters of an unexpected page that are shown."""

_UNREADABLE: Final = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What reading a response raises that does not have the expected form."""

_REQUEST: Final = re.compile(r"[A-Za-z0-9._:/-]{1,64}")


def failure(label: str, call: Request, answer: Response, credentials: Credentials | None, now: float) -> StoreError:
    """The error for a response that the request does not expect. `label` names the store, `now` is the present moment."""
    status = answer.status
    if status in (401, 403):
        if credentials is None:
            asks = "the server requires a credential; set it in the configuration"
            return AuthError(f"{label}: {call.what} was refused ({sender(answer)}): {asks}")
        return refused(label, call, answer, credentials)
    wait = retry_after(answer.headers, now) if status in _WAITED_FOR or status >= 500 else None
    message = f"{label}: {call.what} failed: {_described(call, answer)}; {remedy(status, wait)}"
    if status in _TURNED_AWAY:
        return TransientError(message, wait)
    if status in _UNDECIDED or status >= 500:
        return LostAnswer(message, wait) if call.writes else TransientError(message, wait)
    return unconfirmed(label, call, answer) if call.writes and not answer.problem() else PermanentError(message)


def refused(label: str, call: Request, answer: Response, credentials: Credentials) -> AuthError:
    """The error of a call whose credential the server does not accept."""
    why = credentials.explain(call, answer)
    by = "" if answer.host and answer.host in why.detail else f" ({sender(answer)})"
    return AuthError(f"{label}: {call.what} was refused{by}: {why.detail}; {why.hint}")


def explained(label: str, call: Request, answer: Response, codes: Iterable[int] = ()) -> str:
    """The message of a failure that the API explains in its own words, or with the status alone. `codes` as in
    `server_message`."""
    return f"{label}: {call.what} failed: {_described(call, answer, codes)}"


def rejected(call: Request, answer: Response) -> str:
    """Why the API does not accept one entry, and what to do."""
    return f"the API rejected it: {_described(call, answer)}; correct the entry"


def unanswered(label: str, call: Request, error: TransientError) -> TransientError:
    """The error for a request without a response."""
    said = cleaned(str(error))
    message = f"{label}: {call.what} failed: {said}" + ("" if ";" in said else f"; {CHECK_PATH}")
    if call.writes and isinstance(error, NotAnsweredError):
        return LostAnswer(f"{message}; the request may or may not have been carried out")
    return AnswerTooLongError(message) if isinstance(error, AnswerTooLongError) else TransientError(message)


def unconfirmed(label: str, call: Request, answer: Response) -> LostAnswer:
    """The error for a write that the API itself did not answer: a proxy or another service may have sent the response, before
    or after the write took place."""
    what = f"{call.what} failed: the response is not from this API ({excerpt(call, answer)})"
    return LostAnswer(f"{label}: {what}; the request may or may not have been carried out; check the endpoint")


def excerpt(call: Request, answer: Response) -> str:
    """An unexpected response in short: sender, status, content type, and the beginning of a page or of an error as text. Other
    bodies may hold values, and are not shown."""
    if call.is_secret:
        return f"{sender(answer)}; {_NOT_SHOWN}"
    return _excerpt_of(answer)


@contextmanager
def understood(label: str, what: str, expected: str = "", answer: Response | None = None) -> Iterator[None]:
    """Raise TransientError if a response does not have the form that the block reads: a proxy or another service may have sent
    it. `expected` says what the response should be, such as "a list of keys"; `answer` is the response to a call that sent
    nothing sensitive."""
    try:
        yield
    except _UNREADABLE as error:
        wrong = f"is not {expected}" if expected else "does not have the format of this API"
        shown = "" if answer is None else f" ({_excerpt_of(answer)})"
        raise TransientError(f"{label}: {what} failed: the response {wrong}{shown}; check the endpoint") from error


@contextmanager
def confirmed(label: str, call: Request, answer: Response) -> Iterator[None]:
    """Raise LostAnswer if the response to a write does not have the form that the block reads."""
    try:
        yield
    except _UNREADABLE as error:
        raise unconfirmed(label, call, answer) from error


def server_message(call: Request, answer: Response, codes: Iterable[int] = ()) -> str:
    """The server's error message in one short line; may be empty. If a sensitive value was sent, the status and the API's
    `codes` instead, because the server may repeat the value in any form."""
    if not call.is_secret:
        return cleaned(raw_message(answer))
    numbers = "".join(f", code {code}" for code in sorted(codes) if abs(code) < _CODES)
    return f"{sender(answer)}{numbers}{_request(answer)}; {_NOT_SHOWN}"


def raw_message(answer: Response) -> str:
    """The server's error message as it is, to search in; it must not be shown."""
    problem = answer.problem()
    text = ": ".join(str(problem[name]) for name in ("title", "detail") if problem.get(name)) or _listed(problem)
    return text or str(problem.get("message") or "")


def cleaned(text: str) -> str:
    """Text of another program that can be shown: without secrets and parts of them, in one line, shortened."""
    return clip(escape_text(" ".join(REDACTOR.redact_foreign(text[:_LONGEST_READ]).split())), _LONGEST)


def _listed(problem: Mapping[str, Any]) -> str:
    """The errors of an envelope such as `{"errors": [{"code": 10013, "message": "…"}]}`, or the one of `{"error": {…}}`."""
    errors = problem.get("errors")
    named = [*errors, problem.get("error")] if isinstance(errors, list) else [problem.get("error")]
    return "; ".join(_one(error) for error in named if isinstance(error, dict))


def _one(error: Mapping[str, Any]) -> str:
    """Message and name of an error: `type` at Apify, `code` elsewhere; the message is `msg` at Voximplant."""
    said, name = error.get("message") or error.get("msg"), error.get("code", error.get("type"))
    return " ".join([*([str(said)] if said else []), *([f"({name})"] if name is not None else [])])


def _described(call: Request, answer: Response, codes: Iterable[int] = ()) -> str:
    message = server_message(call, answer, codes)
    if call.is_secret:
        return message
    return (f"{sender(answer)}, {message}" if message else _excerpt_of(answer)) + _request(answer)


def _excerpt_of(answer: Response) -> str:
    kind = cleaned(answer.headers.get("content-type", "").partition(";")[0])
    start = clip(cleaned(answer.body[:_LONGEST_READ].decode("utf-8", "replace")), _FIRST)
    is_harmless = start.startswith("<") or (answer.status >= 400 and kind == "text/plain")
    shown = f', begins with "{start}"' if is_harmless else "" if answer.body else ", no body"
    return f"{sender(answer)}, {kind or 'no content type'}{shown}"


def sender(answer: Response) -> str:
    """The status of a response, and the host that sent it."""
    return f"status {answer.status}" + (f" from {answer.host}" if answer.host else "")


def _request(answer: Response) -> str:
    """The server's id of the request, which its operators can look up; empty if it does not look like one."""
    for header in ("x-ms-request-id", "x-request-id", "cf-ray"):
        name = answer.headers.get(header, "")
        if _REQUEST.fullmatch(name) and REDACTOR.redact_foreign(name) == name:
            return f" (request {name})"
    return ""
