"""Accounts: how calls are authenticated, and in the name of which account.

An API key is a parameter of each call. A service account signs tokens with the key in its key file, read again for each call.
A token is valid for a few minutes. A new one is signed before it expires, if the file has changed, if this machine's clock
was set back, and once more if the service rejects it: then by the server's clock, because a wrong clock here is the usual
reason.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from kvsync.config.credentials import describe
from kvsync.config.model import Credential, CredentialKind
from kvsync.errors import AuthError, PermanentError
from kvsync.http.bearer import checked_secret
from kvsync.http.clock_skew import ahead_of_server
from kvsync.http.model import Credentials, ErrorText, Request, Response
from kvsync.stores.base import StoreContext
from kvsync.util.clock import Clock
from kvsync.util.redaction import REDACTOR

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_BACK: Final = 30
"""Seconds by which tokens are dated back, for a server whose clock is behind."""

_LIFE: Final = 600
"""Seconds from the date of a token to its end; the service takes 3,600 at most."""

_SPARE: Final = 60
"""Seconds before its end from which a token is not used any more."""

_NEW_FILE: Final = "download the key of a service account again (Settings > Service accounts)"

_NEW_KEY: Final = "copy the API key again (Settings > API keys)"


@dataclass(frozen=True, slots=True)
class AccountRequest(Request):
    """A request that must be sent in the name of `account` only."""

    account: str = ""


class Account(Credentials, Protocol):
    """An account and its credentials. `kind` says what they are, for people."""

    kind: str

    def id(self) -> str:
        """The number of the account. Raises AuthError."""
        ...

    def parameters(self) -> Mapping[str, str]:
        """The parameters that authenticate a call; empty if a header does. Raises AuthError."""
        ...

    def handle_refusal(self, refusal: Response) -> None:
        """Learn from a call that was refused."""
        ...


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The API key of an account, which is sent as a parameter in the body of each call. `resolve` reads it, and raises
    AuthError if there is none."""

    label: str
    account: str
    resolve: Callable[[], str]
    kind = "API key"

    def id(self) -> str:
        """The account that the configuration names."""
        return self.account

    def parameters(self) -> Mapping[str, str]:
        """Account and key."""
        invalid = f"{self.label}: the API key contains characters that are not valid in a key; {_NEW_KEY}"
        key = checked_secret(self.resolve(), invalid)
        return {"account_id": self.account, "api_key": key}

    def handle_refusal(self, refusal: Response) -> None:
        """Nothing is learned: a key does not depend on a clock."""

    async def sign(self, _call: Request, _host: str) -> Mapping[str, str]:
        """No header."""
        return {}

    async def renew(self, _refused: Mapping[str, str] | None = None) -> bool:
        """Whether there is a newer key: there is none, because each call reads it again."""
        return False

    def explain(self, _call: Request, answer: Response) -> ErrorText:
        """Explain why the service rejects the key."""
        return ErrorText("credential", "no reason given", _NEW_KEY)


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The content of the key file. `private_key` is PEM."""

    account: str
    key_id: str
    private_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    file: KeyFile
    since: float
    until: float


class ServiceAccount:
    """Adds tokens to requests.

    `resolve` reads a reference, and raises AuthError if there is nothing. Its result is the content of the key file or, as in
    the environment of the service's own clients, its path.
    """

    kind = "key file"

    def __init__(self, where: str, resolve: Callable[[Credential], str], reference: Credential, clock: Clock) -> None:
        self._where, self._resolve, self._reference, self._clock = where, resolve, reference, clock
        self._keys: dict[str, RSAPrivateKey] = {}
        self._token: _Token | None = None
        self._ahead = 0.0
        self._signing = asyncio.Lock()

    def id(self) -> str:
        """The account that the key belongs to. Raises AuthError."""
        return self.file().account

    def parameters(self) -> Mapping[str, str]:
        """None: a header authenticates."""
        return {}

    def file(self) -> KeyFile:
        """Read the key file. Raises AuthError, which reveals nothing of its content."""
        text = self._resolve(self._reference).strip()
        if not text.startswith("{"):
            text = self._named(text)
        try:
            return _key_file(json.loads(text))
        except (ValueError, RecursionError):
            raise AuthError(f"{self._where}: the credentials are not JSON; {_NEW_FILE}") from None
        except (KeyError, TypeError):
            what = "the credentials are not an object with account_id, key_id and private_key"
            raise AuthError(f"{self._where}: {what}; {_NEW_FILE}") from None

    def _named(self, path: str) -> str:
        """The content of the file at a path that the reference led to. The path is redacted from messages like everything a
        reference leads to, so the reference is added to them. Raises AuthError."""
        try:
            return self._resolve(Credential(CredentialKind.FILE, path, self._reference.origin))
        except AuthError as error:
            raise AuthError(f"{error} (the path comes from {describe(self._reference)})") from None

    async def sign(self, call: Request, _host: str) -> Mapping[str, str]:
        """The header for every request. Raises AuthError, and PermanentError if the key file now belongs to another account
        than an `AccountRequest` is for."""
        async with self._signing:
            file, now = self.file(), self._clock.now() - self._ahead
            if isinstance(call, AccountRequest) and call.account != file.account:
                what = f"the credentials now belong to account {file.account}, not to {call.account}"
                raise PermanentError(
                    f"{self._where}: {call.what} was not sent: {what}; the next pass uses the new account"
                )
            token = self._token
            if token is None or token.file != file or not token.since <= now < token.until:
                self._token = token = await self._new(file, int(now))
        return {"Authorization": f"Bearer {token.text}"}

    def handle_refusal(self, refusal: Response) -> None:
        """Learn from a rejected token how far this machine's clock is from the server's."""
        self._ahead = ahead_of_server(refusal, self._clock.now()) or 0.0

    async def renew(self, _refused: Mapping[str, str] | None = None) -> bool:
        """Sign a new token for the next request."""
        self._token = None
        return True

    def explain(self, _call: Request, answer: Response) -> ErrorText:
        """Explain why the service rejects the token."""
        hint = f"check that the key is not revoked, and that this machine's clock is right, or {_NEW_FILE}"
        return ErrorText("credential", "no reason given", hint)

    async def _new(self, file: KeyFile, now: int) -> _Token:
        import jwt  # a fifth of a second, which working offline need not pay

        key = await self._key(file)
        issued = now - _BACK
        claims = {"iss": file.account, "iat": issued, "exp": issued + _LIFE}
        text = jwt.encode(claims, key, algorithm="RS256", headers={"kid": file.key_id})
        REDACTOR.register_token(self, text)
        return _Token(text, file, issued, issued + _LIFE - _SPARE)

    async def _key(self, file: KeyFile) -> RSAPrivateKey:
        """The key, parsed once, in a thread, because that takes a tenth of a second."""
        if file.private_key not in self._keys:
            self._keys = {file.private_key: await asyncio.to_thread(_parsed, file.private_key, self._where)}
        return self._keys[file.private_key]


def account_of(label: str, options: Mapping[str, Any], context: StoreContext, clock: Clock) -> Account:
    """The account that the configuration signs in with."""
    credentials: Credential | None = options.get("credentials")
    if credentials is not None:
        return ServiceAccount(label, context.resolve, credentials, clock)
    return ApiKey(label, str(options["account_id"]), partial(context.resolve, options["api_key"]))


def _key_file(data: Any) -> KeyFile:
    account, key_id, private_key = data["account_id"], data["key_id"], data["private_key"]
    if not (isinstance(key_id, str) and isinstance(private_key, str)):
        raise TypeError
    return KeyFile(str(int(account)), key_id, private_key)


def _parsed(pem: str, where: str) -> RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise AuthError(f"{where}: private_key in the credentials is not an RSA key in PEM format; {_NEW_FILE}")
    return key
