"""Client of etcd's JSON gateway (etcd 3.4 and later): every call is a POST with a JSON body."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from kvsync.errors import PermanentError, StoreError, TransientError
from kvsync.http.client import Client, ClientLimits, ClientOptions
from kvsync.http.failures import cleaned
from kvsync.http.model import ErrorText, Request, Response, StaleCredentialError
from kvsync.model.health import Traffic
from kvsync.util.clock import Clock

_CONCURRENCY: Final = 2
_HEAD: Final = 1024
_OUTDATED: Final = (
    "revision of auth store is old",
    "revision in header is old",
    "invalid auth token",
    "token is expired",
)
"""What etcd says of a token that was good before."""

_JSON: Final = {"Content-Type": "application/json"}


class Gateway:
    """One endpoint of etcd, `url`. `timeout` is in seconds. `user` is a name and what gives the password; `register` hears of
    tokens, which are secrets too."""

    def __init__(
        self,
        where: str,
        url: str,
        clock: Clock,
        timeout: float,
        user: tuple[str, Callable[[], str]] | None = None,
        register: Callable[[str], None] = lambda _secret: None,
    ) -> None:
        self._where = where
        limits = ClientLimits(timeout, _CONCURRENCY)
        self._login = Client(where, url, clock, Traffic(), ClientOptions(limits=limits)) if user is not None else None
        credentials = None
        if user is not None and self._login is not None:
            credentials = Password(self._where, self._login, *user, register)
        mapper = None if user is None else partial(_outdated, where)
        options = ClientOptions(limits=limits, credentials=credentials, error_mapper=mapper)
        self._client = Client(where, url, clock, Traffic(), options)

    async def ask(self, path: str, what: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """One call, sent once. Raises StoreError."""
        return decoded(self._where, what, await self._client.send(call(path, what, body)))

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self._client.aclose()
        if self._login is not None:
            await self._login.aclose()


class Password:
    """Name and password, and the token that etcd gives for them: fetched when it is needed, and again when it is refused."""

    def __init__(
        self, where: str, login: Client, name: str, password: Callable[[], str], register: Callable[[str], None]
    ) -> None:
        self._where, self._login, self._name, self._password, self._register = where, login, name, password, register
        self._token: str | None = None

    async def sign(self, _call: Request, _host: str) -> Mapping[str, str]:
        """The token, without the name of a scheme before it. Raises StoreError."""
        if self._token is None:
            self._token = await self._fetch()
        return {"Authorization": self._token}

    async def renew(self) -> bool:
        """Tokens end after some minutes, and when etcd starts again; another one is fetched."""
        self._token = None
        return True

    def explain(self, _call: Request, answer: Response) -> ErrorText:
        """Tell a user who may not from one who is not known."""
        said = cleaned(str(answer.problem().get("message") or f"status {answer.status}"))
        hint = f"grant {self._name} read and write on the key of the lease"
        return ErrorText("permission" if answer.status == 403 else "credential", f"etcd says {said}", hint)

    async def _fetch(self) -> str:
        what = f"signing in as {self._name}"
        body = {"name": self._name, "password": self._password()}
        token = decoded(self._where, what, await self._login.send(call("auth/authenticate", what, body))).get("token")
        if not isinstance(token, str):
            raise PermanentError(f"{self._where}: {what} failed: the response contains no token; check the endpoint")
        self._register(token)
        return token


def _outdated(where: str, call: Request, answer: Response) -> StoreError | None:
    """The error of a token that counts no more, because it expired or because any user or role was changed since. etcd says so
    with several statuses, also with 200 where an answer is a stream."""
    text = answer.body[:_HEAD].decode("utf-8", "replace")
    if not any(sign in text for sign in _OUTDATED):
        return None
    return StaleCredentialError(f"{where}: {call.what} failed: etcd says {cleaned(text)}")


def call(path: str, what: str, body: Mapping[str, Any]) -> Request:
    """A call of the gateway."""
    return Request("POST", f"/v3/{path}", what, _JSON, json.dumps(body).encode())


def decoded(where: str, what: str, answer: Response) -> Mapping[str, Any]:
    """The first message of an answer: calls that could go on forever answer in lines. Raises TransientError when it is
    none, or says that it failed."""
    line = answer.body.partition(b"\n")[0]
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise TransientError(f"{where}: {what} failed: the response is not a JSON object; check the endpoint")
    error = data.get("error")
    if error is not None:
        said = str(error.get("message", "") if isinstance(error, dict) else error)
        raise TransientError(f"{where}: {what} failed: etcd says {cleaned(said)}")
    return data
