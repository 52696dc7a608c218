"""Wire format of etcd's JSON gateway (etcd 3.4 and later): every call is a POST with a JSON body.

Keys and values are base64, 64-bit numbers are text, and what is zero is left out.
"""

from __future__ import annotations

import json
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from kvsync.errors import AuthError, BatchRefused, LostAnswer, PermanentError, StoreError, TransientError
from kvsync.http.client import Client
from kvsync.http.failures import cleaned, excerpt, unconfirmed
from kvsync.http.model import ErrorText, Request, Response, StaleCredentialError
from kvsync.http.shared_token import SharedToken

_HEAD: Final = 1024
_JSON: Final = {"Content-Type": "application/json"}

_OUTDATED: Final = (
    "revision of auth store is old",
    "revision in header is old",
    "invalid auth token",
    "token is expired",
)
"""What etcd says of a token that was good before."""

_NOT_SIGNED_IN: Final = {
    "user name is empty": "etcd requires a user; set username and password",
    "authentication is not enabled": "etcd does not use authentication; remove username and password",
    "invalid user ID or password": "etcd does not accept the user name or the password; correct them",
}

_FULL: Final = "database space exceeded"
_COMPACTED: Final = "required revision has been compacted"
_NO_LEASE: Final = "requested lease not found"
_TOO_LARGE: Final = ("too many operations", "request is too large", "larger than max")
_UNAVAILABLE: Final = frozenset({4, 14})
"""gRPC codes deadline exceeded and unavailable: no leader, no quorum, a leader that changed. A write may have been made."""

_RECOVER: Final = "compact and defragment etcd, then run `etcdctl alarm disarm`"
_QUORUM: Final = "check that a majority of the members is running; a new leader is elected within seconds"


_FLAT: Final = 16
"""Operations of one nested transaction: etcd allows 128 in one, less one for each operation around it."""


class CompactedError(TransientError):
    """The revision that a listing reads was compacted; it must begin again."""


class LeaseGoneError(TransientError):
    """The lease expired or was revoked before it was used: nothing was written."""


def encoded(data: str | bytes) -> str:
    """A key or a value as the gateway takes it."""
    return b64encode(data.encode() if isinstance(data, str) else data).decode()


def raw(text: str) -> bytes:
    """A key or a value that the gateway gave. Raises ValueError."""
    return a2b_base64(text)


def end_of(prefix: bytes) -> bytes:
    """The end of the range of all keys that begin with `prefix`; a zero byte means the end of all keys."""
    start = prefix.rstrip(b"\xff")
    return start[:-1] + bytes([start[-1] + 1]) if start else b"\0"


def call(path: str, what: str, body: Mapping[str, Any], *, reads: bool = False, is_secret: bool = False) -> Request:
    """A call of the gateway."""
    return Request("POST", f"/v3/{path}", what, _JSON, json.dumps(body).encode(), reads=reads, is_secret=is_secret)


def decoded(where: str, request: Request, answer: Response) -> Mapping[str, Any]:
    """The first message of an answer: calls that could go on forever answer in lines. Raises TransientError when it is
    none, or says that it failed."""
    what = request.what
    data = object_of(where, replace(request, reads=True), answer, answer.body.partition(b"\n")[0])
    error = data.get("error")
    if error is not None:
        said = str(error.get("message", "") if isinstance(error, dict) else error)
        raise TransientError(f"{where}: {what} failed: etcd says {cleaned(said)}")
    return data


def object_of(where: str, request: Request, answer: Response, text: bytes | None = None) -> dict[str, Any]:
    """The answer to a request, or the `text` that is a part of it, as a JSON object. Raises TransientError if it is not one,
    LostAnswer if the request writes."""
    try:
        data = json.loads(answer.body if text is None else text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        if request.writes:
            raise unconfirmed(where, request, answer)
        wrong = f"the response is not a JSON object ({excerpt(request, answer)}); check the endpoint"
        raise TransientError(f"{where}: {request.what} failed: {wrong}")
    return data


def nested(operations: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Operations in groups, as transactions within a transaction: etcd limits how many one holds."""
    groups = [operations[start : start + _FLAT] for start in range(0, len(operations), _FLAT)]
    return [{"request_txn": {"success": group}} for group in groups]


def flattened(responses: Sequence[Mapping[str, Any]], expected: int) -> list[Mapping[str, Any]]:
    """The responses to operations that were grouped by `nested`. Raises LookupError, or ValueError for another number."""
    found = [one for group in responses for one in group["response_txn"]["responses"]]
    if len(found) != expected:
        raise ValueError("the number of responses differs from the number of operations")
    return found


class Password:
    """Name and password, and the token that etcd gives for them: fetched when it is needed, and again when it is refused.

    Calls in flight share one sign-in, because checking a password takes etcd a good part of a second. `hint` says what to grant
    to a user that lacks permission; `register` is called with this object and each of its tokens, which are secrets too.
    """

    def __init__(
        self,
        where: str,
        login: Client,
        user: tuple[str, Callable[[], str]],
        register: Callable[[object, str], None],
        hint: str,
    ) -> None:
        self._where, self._login, self._register, self._hint = where, login, register, hint
        self._name, self._password = user
        self._token = SharedToken[str]()

    async def sign(self, _call: Request, _host: str) -> Mapping[str, str]:
        """The token, without the name of a scheme before it. Raises StoreError."""
        return {"Authorization": await self._token.newer_than(None, self._fetch)}

    async def renew(self, refused: Mapping[str, str] | None = None) -> bool:
        """Tokens end after some minutes, and when etcd starts again; another one is fetched."""
        if refused is None or refused == {"Authorization": self._token.current}:
            self._token.current = None
        return True

    def explain(self, _call: Request, answer: Response) -> ErrorText:
        """Distinguish a user without permission from an unknown user."""
        said = cleaned(message_of(answer))
        why = f"etcd says {said}" if said else "no reason given"
        return ErrorText("permission" if answer.status == 403 else "credential", why, self._hint)

    async def aclose(self) -> None:
        """Stop signing in. Idempotent."""
        await self._token.aclose()

    async def _fetch(self) -> str:
        what = f"signing in as {self._name}"
        body = {"name": self._name, "password": self._password()}
        request = replace(call("auth/authenticate", what, body, reads=True, is_secret=True), expects=(200, 400))
        answer = await self._login.send(request)
        if answer.status == 400:
            raise AuthError(f"{self._where}: {what} failed: {_known_reason(answer)}")
        token = decoded(self._where, request, answer).get("token")
        if not isinstance(token, str):
            wrong = f"the response contains no token ({excerpt(request, answer)}); check the endpoint"
            raise PermanentError(f"{self._where}: {what} failed: {wrong}")
        self._register(self, token)
        return token


_REASONS: Final = {
    "authentication is not enabled": "remove username and password, or run etcdctl auth enable",
    "invalid user ID or password": "check username and password",
}
"""What etcd says of a refused sign-in, and what to do. Nothing else of its response is repeated, since a password was sent."""


def _known_reason(answer: Response) -> str:
    said = message_of(answer)
    for reason, hint in _REASONS.items():
        if reason in said:
            return f"etcd says {reason}; {hint}"
    return "status 400; check username and password"


def message_of(answer: Response) -> str:
    """What etcd says of an error; empty where the body is not an error of etcd."""
    problem = answer.problem()
    found = problem.get("message") or problem.get("error")
    return found if isinstance(found, str) else ""


def outdated(where: str, call: Request, answer: Response) -> StoreError | None:
    """The error of a token that counts no more, because it expired or because any user or role was changed since. etcd says so
    with several statuses, also with 200 where an answer is a stream."""
    text = answer.body[:_HEAD].decode("utf-8", "replace")
    if not any(sign in text for sign in _OUTDATED):
        return None
    return StaleCredentialError(f"{where}: {call.what} failed: etcd says {cleaned(text)}")


def error_of(where: str, call: Request, answer: Response) -> StoreError | None:
    """What an answer means at etcd where that is not what its status means elsewhere. None for all others."""
    if (stale := outdated(where, call, answer)) is not None or answer.status == 200:
        return stale
    said = message_of(answer)
    failed = f"{where}: {call.what} failed: etcd says {cleaned(said)}"
    refused = next((why for sign, why in _NOT_SIGNED_IN.items() if sign in said), None)
    if refused is not None:
        return AuthError(f"{where}: {call.what} was refused: {refused}")
    if _FULL in said:
        return PermanentError(f"{failed}: its database is full, so it accepts no writes; {_RECOVER}")
    if _COMPACTED in said:
        return CompactedError(f"{failed}: the listing took longer than etcd keeps old revisions")
    if _NO_LEASE in said:
        return LeaseGoneError(failed)
    if any(sign in said for sign in _TOO_LARGE):
        return BatchRefused(failed)
    if answer.problem().get("code") in _UNAVAILABLE:
        return (LostAnswer if call.writes else TransientError)(f"{failed}; {_QUORUM}")
    return None
