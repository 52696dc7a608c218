"""Tokens: one that is given, or one from a login with AppRole or Kubernetes.

A token of a login is renewed after two thirds of its lifetime, and replaced by another login when it cannot be renewed or was
refused. A given token is renewed the same way, where the server says that it can be.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Final

from kvsync.config.model import Credential, CredentialKind
from kvsync.errors import AuthError, StoreError
from kvsync.http.bearer import checked_secret
from kvsync.http.client import Client
from kvsync.http.failures import cleaned, excerpt, understood
from kvsync.http.model import ErrorText, Request, Response
from kvsync.http.shared_token import SharedToken
from kvsync.stores.base import StoreContext
from kvsync.stores.vault_kv.api import Paths, data_of, errors_of
from kvsync.util.clock import Clock
from kvsync.util.redaction import REDACTOR

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""Where Kubernetes puts the token of a pod."""

_PART: Final = 2 / 3
_AGAIN: Final = 10.0
"""Seconds between two logins because a token was refused: a missing permission is not mended by another token."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and the monotonic moments at which it was given and is to be renewed; infinity where it does not expire."""

    text: str = field(repr=False)
    given_at: float
    renew_at: float


@dataclass(frozen=True, slots=True)
class SignIn:
    """How to get a token: `given` reads the configured one; without it, `login` is the endpoint below `auth/`, and `body` what
    is sent there, read again each time. `headers` go with every request."""

    given: Callable[[], str] | None
    login: str = ""
    body: Callable[[], Mapping[str, str]] = dict
    headers: Mapping[str, str] = field(default_factory=dict)


class VaultToken:
    """Puts a token on every request. `client` sends what a token is asked for with."""

    def __init__(self, client: Client, paths: Paths, sign_in: SignIn, clock: Clock) -> None:
        self._client, self._paths, self._sign_in, self._clock = client, paths, sign_in, clock
        self._token = SharedToken[Token]()

    async def sign(self, _call: Request, _host: str) -> Mapping[str, str]:
        """The token, a new one when the old one ends soon. Raises StoreError."""
        token = self._token.current
        if token is None or self._clock.monotonic() >= token.renew_at or self._is_rotated(token):
            token = await self._token.newer_than(token, partial(self._fetch, token))
        return self._headers(token.text)

    async def renew(self, refused: Mapping[str, str] | None = None) -> bool:
        """Sign in again after a token was refused; False where that cannot help."""
        token = self._token.current
        if token is not None and refused is not None and refused != self._headers(token.text):
            return True
        is_given = self._sign_in.given is not None
        if is_given or token is None or self._clock.monotonic() - token.given_at < _AGAIN:
            return False
        await self._token.newer_than(token, self._log_in)
        return True

    def explain(self, _call: Request, answer: Response) -> ErrorText:
        """Why a 401 came back, which Vault itself does not send."""
        said = cleaned("; ".join(errors_of(answer))) or "no reason given"
        return ErrorText("credential", said, "check the token, and what is between kvsync and the server")

    async def aclose(self) -> None:
        """Stop signing in. Idempotent."""
        await self._token.aclose()

    def _headers(self, token: str) -> Mapping[str, str]:
        return {**self._sign_in.headers, "X-Vault-Token": token}

    def _is_rotated(self, token: Token) -> bool:
        given = self._sign_in.given
        return given is not None and given() != token.text

    async def _fetch(self, old: Token | None) -> Token:
        """A renewed token, or one from another sign-in."""
        if old is not None and not self._is_rotated(old):
            with suppress(StoreError):
                return await self._renewed(old)
        given = self._sign_in.given
        return await self._log_in() if given is None else await self._examined(given())

    async def _log_in(self) -> Token:
        what = f"signing in at auth/{self._sign_in.login}"
        body = json.dumps(self._sign_in.body()).encode()
        target, headers = self._paths.login(self._sign_in.login), self._sign_in.headers
        return await self._asked(Request("POST", target, what, headers, body, reads=True, is_secret=True))

    async def _renewed(self, token: Token) -> Token:
        what, target = "renewing the token", self._paths.login("token/renew-self")
        return await self._asked(
            Request("POST", target, what, self._headers(token.text), b"{}", reads=True, is_secret=True)
        )

    async def _examined(self, text: str) -> Token:
        """A given token with its lifetime, as far as it may look that up."""
        what, target = "reading the lifetime of the token", self._paths.login("token/lookup-self")
        try:
            found = data_of(await self._client.send(Request("GET", target, what, self._headers(text))))
            seconds = float(found.get("ttl") or 0) if found.get("renewable") else 0.0
        except (StoreError, TypeError, ValueError):
            seconds = 0.0
        return self._lasting(text, seconds)

    async def _asked(self, request: Request) -> Token:
        answer = await self._client.send(request)
        auth: Any = answer.problem().get("auth")
        if not isinstance(auth, dict) or not isinstance(auth.get("client_token"), str):
            wrong = f"the response contains no token ({excerpt(request, answer)}); check address and auth_mount"
            raise AuthError(f"{self._client.label}: {request.what} failed: {wrong}")
        REDACTOR.register_token(self, auth["client_token"])
        with understood(self._client.label, request.what):
            return self._lasting(auth["client_token"], float(auth.get("lease_duration") or 0))

    def _lasting(self, text: str, seconds: float) -> Token:
        now = self._clock.monotonic()
        return Token(text, now, now + _PART * seconds if seconds > 0 else inf)


def sign_in_of(options: Mapping[str, Any], context: StoreContext, where: str) -> SignIn:
    """How the configuration signs in."""
    namespace = options.get("vault_namespace")
    headers = {"X-Vault-Request": "true"} | ({"X-Vault-Namespace": namespace} if namespace else {})
    secret = partial(_resolved, context, where)
    if options.get("token") is not None:
        return SignIn(lambda: secret(options["token"]), headers=headers)
    if options.get("role_id") is not None:
        body = lambda: {"role_id": options["role_id"], "secret_id": secret(options["secret_id"])}  # noqa: E731
        return SignIn(None, f"{options.get('auth_mount') or 'approle'}/login", body, headers)
    token = options.get("kubernetes_token") or Credential(CredentialKind.FILE, str(SERVICE_ACCOUNT))
    body = lambda: {"role": options["kubernetes_role"], "jwt": secret(token)}  # noqa: E731
    return SignIn(None, f"{options.get('auth_mount') or 'kubernetes'}/login", body, headers)


def _resolved(context: StoreContext, where: str, credential: Credential) -> str:
    invalid = f"{where}: {credential.name} contains characters that are not valid in a token; copy it again"
    return checked_secret(context.resolve(credential), invalid)
