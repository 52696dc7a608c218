"""Authentication: access keys (HMAC-SHA256 over the raw request), bearer tokens, or anonymous."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from kvsync.emulators.azure.problems import Refused, empty
from kvsync.emulators.azure.query import read_date
from kvsync.emulators.model import Request

_SKEW: Final = 15 * 60  # seconds
_SCHEME: Final = "HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credential:
    """Credential of a client: id and base64 secret of an access key, or a bearer token as the secret."""

    id: str
    secret: str
    may_write: bool = True


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Checks the credentials of requests. With `anonymous`, requests without a credential pass; without `access_keys`, HMAC
    signatures are refused. `directory` returns the credential of a token for the store with an address; it raises
    ValueError, with the reason, for a token that it refuses."""

    keys: tuple[Credential, ...]
    tokens: tuple[Credential, ...] = ()
    anonymous: bool = False
    access_keys: bool = True
    directory: Callable[[str, str], Credential] | None = None

    def check(self, request: Request, now: float) -> None:
        """Raise Refused: 401 for an unknown caller, 403 for one without the permission. `now` is in seconds since the epoch."""
        header = request.headers.get("Authorization")
        if header is None and self.anonymous:
            return
        scheme, _, parameters = (header or "").partition(" ")
        if scheme.upper() == _SCHEME:
            credential = self._hmac(request, _parameters(parameters), now)
        elif scheme.lower() == "bearer":
            credential = self._bearer(parameters.strip(), request.origin)
        else:
            raise empty(401, {"WWW-Authenticate": f"{_SCHEME}, Bearer"})
        if not credential.may_write and request.method not in ("GET", "HEAD"):
            raise empty(403)

    def _hmac(self, request: Request, parameters: Mapping[str, str], now: float) -> Credential:
        if not self.access_keys:
            raise _unauthorized("Authentication scheme disabled")
        names = _signed_headers(parameters, request.headers)
        date = next(request.headers[name] for name in ("x-ms-date", "date") if name in names)
        _check_date(date, now)
        key = next((key for key in self.keys if key.id == parameters.get("credential")), None)
        if key is None:
            raise _unauthorized("Invalid Credential")
        if not parameters.get("signature"):
            raise _unauthorized("Signature is required")
        wanted = signature(key.secret, request, names)
        if not hmac.compare_digest(wanted.encode(), parameters["signature"].encode()):
            raise _unauthorized("Invalid Signature")
        if not hmac.compare_digest(content_hash(request.body), request.headers["x-ms-content-sha256"]):
            raise _unauthorized("Invalid request content hash")
        return key

    def _bearer(self, token: str, origin: str) -> Credential:
        for known in self.tokens:
            if hmac.compare_digest(known.secret.encode(), token.encode()):
                return known
        description = "Authorization token failed validation"
        if self.directory is not None:
            try:
                return self.directory(token, origin)
            except ValueError as error:
                description = str(error)
        challenge = f'{_SCHEME}, Bearer error="invalid_token", error_description="{description}"'
        raise empty(401, {"WWW-Authenticate": challenge})


def signature(secret: str, request: Request, names: list[str]) -> str:
    """The signature (base64) of a request with these signed headers, in their order."""
    values = ";".join(request.headers[name] for name in names)
    text = f"{request.method.upper()}\n{request.target}\n{values}"
    digest = hmac.new(base64.b64decode(secret), text.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def content_hash(body: bytes) -> str:
    """The base64 SHA-256 of a body."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def _parameters(text: str) -> dict[str, str]:
    """`Credential=…&SignedHeaders=…&Signature=…`, with `&` or `,` between them; names have no case."""
    pairs = (part.strip().partition("=") for part in re.split("[&,]", text))
    return {name.lower(): value.strip() for name, _, value in pairs}


def _signed_headers(parameters: Mapping[str, str], headers: Mapping[str, str]) -> list[str]:
    names = [name.strip().lower() for name in parameters.get("signedheaders", "").split(";")]
    if names == [""]:
        raise _unauthorized("SignedHeaders parameter is required")
    for name in names:
        if name not in headers:
            raise _unauthorized(f"Signed request header '{name}' is not provided")
    if "x-ms-date" not in names and "date" not in names:
        raise _unauthorized("Date is required as a signed header")
    for name in ("host", "x-ms-content-sha256"):
        if name not in names:
            raise _unauthorized(f"{name} is required as a signed header")
    return names


def _check_date(text: str, now: float) -> None:
    date = read_date(text)
    if date is None:
        raise _unauthorized("Invalid access token date")
    if abs(now - date) > _SKEW:
        raise _unauthorized("The access token has expired")


def _unauthorized(description: str) -> Refused:
    challenge = f'{_SCHEME} error="invalid_token" error_description="{description}", Bearer'
    return empty(401, {"WWW-Authenticate": challenge})
