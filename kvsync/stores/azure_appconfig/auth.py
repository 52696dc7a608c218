"""Authentication: access keys, whose secret signs every request, or Microsoft Entra ID, as configured."""

from __future__ import annotations

import binascii
import hmac
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from hashlib import sha256
from math import inf
from typing import Final
from urllib.parse import urlsplit

from kvsync.config.model import StoreConfig
from kvsync.config.values import checked_url, is_plain_http
from kvsync.errors import AuthError, PermanentError
from kvsync.http.clock_skew import ahead_of_server, skew_in_words
from kvsync.http.entra import EntraToken, Roles, TokenRequest, ambient, client_secret
from kvsync.http.failures import cleaned, excerpt, server_message
from kvsync.http.model import Credentials, ErrorText, Request, Response
from kvsync.stores.base import StoreContext
from kvsync.stores.route import route_of
from kvsync.util.clock import Clock

_AUDIENCE: Final = "https://azconfig.io"
_ROLES: Final = Roles("App Configuration Data Reader", "App Configuration Data Owner")

_SIGNED: Final = "x-ms-date;host;x-ms-content-sha256"
_CORRECTION: Final = 60.0
"""Seconds by which the store's clock must move to count as corrected, and for which calls that were signed before are signed
again."""

_DESCRIPTION: Final = re.compile(r'error_description="([^"]*)"')
_EMPTY: Final = b64encode(sha256().digest()).decode()

_NEW_ONE: Final = "copy the connection string again from the access settings of the store"
_USE_WRITER: Final = "use a read-write key, or Entra ID with the role App Configuration Data Owner"
_CHECK_NETWORK: Final = (
    "check what is between kvsync and the store: its network rules, its access settings, its quota, a proxy"
)
_ENABLE: Final = "enable them in the store's access settings, or use Entra ID: endpoint instead of connection_string"
SET_CLOCK: Final = (
    "synchronize this machine's clock with NTP; Azure refuses clocks that are off by more than 15 minutes"
)


@dataclass(frozen=True, slots=True)
class ConnectionString:
    """A connection string: `Endpoint=…;Id=…;Secret=…`."""

    endpoint: str
    id: str = field(repr=False)
    secret: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> ConnectionString:
        """Parse a connection string. Raises ValueError, which repeats nothing of the text."""
        parts = {name.strip().lower(): value for name, _, value in (part.partition("=") for part in text.split(";"))}
        missing = [name for name in ("Endpoint", "Id", "Secret") if not parts.get(name.lower(), "").strip()]
        if missing:
            raise ValueError(
                f"no {' and no '.join(missing)} in the connection string; copy it again from the access settings of the store"
            )
        endpoint = parts["endpoint"].strip().rstrip("/")
        if not re.fullmatch(r"https?://[^\s/?#@]+", endpoint):
            raise ValueError("the Endpoint in the connection string is not a URL such as https://name.azconfig.io")
        try:
            checked_url(endpoint)
        except ValueError as problem:
            raise ValueError(f"the Endpoint in the connection string: {problem}") from None
        try:
            return cls(endpoint, parts["id"].strip(), b64decode(parts["secret"].strip(), validate=True))
        except binascii.Error:
            raise ValueError(
                "the Secret in the connection string is not base64; it may be truncated; copy it again"
            ) from None


class HmacKey:
    """Signs requests. `resolve` reads the connection string again."""

    def __init__(self, resolve: Callable[[], ConnectionString], clock: Clock) -> None:
        self._resolve, self._clock = resolve, clock
        self._key = resolve()
        self._signed_at, self._corrected_at = clock.now(), -inf

    async def sign(self, call: Request, host: str) -> Mapping[str, str]:
        """The headers for this request at this moment."""
        self._signed_at = self._clock.now()
        date = _http_date(int(self._signed_at))
        digest = b64encode(sha256(call.body).digest()).decode() if call.body else _EMPTY
        text = f"{call.method}\n{call.target}\n{date};{host};{digest}"
        signature = b64encode(hmac.digest(self._key.secret, text.encode("ascii"), "sha256")).decode()
        return {
            "x-ms-date": date,
            "x-ms-content-sha256": digest,
            "Authorization": f"HMAC-SHA256 Credential={self._key.id}&SignedHeaders={_SIGNED}&Signature={signature}",
        }

    async def renew(self, _refused: Mapping[str, str] | None = None) -> bool:
        """Read the connection string again, because it may have been rotated. True as well if the response showed that this
        machine's clock is wrong: then the next signature has the server's time; and for calls that were in flight when
        another one learned this. Raises AuthError."""
        before, self._key = self._key, self._resolve()
        now = self._clock.monotonic()
        if before != self._key or abs(self._clock.now() - self._signed_at) > _CORRECTION:
            self._corrected_at = now
        return now - self._corrected_at < _CORRECTION

    def explain(self, call: Request, answer: Response) -> ErrorText:
        """Distinguish a wrong id, a wrong secret, a wrong clock and a missing permission."""
        found = _DESCRIPTION.search(answer.headers.get("www-authenticate", ""))
        said = found.group(1) if found else "no reason given"
        if "disabled" in said:
            return ErrorText("permission", "access keys are disabled for this store", _ENABLE)
        if answer.status == 403:
            message = server_message(call, answer) or excerpt(call, answer)
            if call.writes:
                return ErrorText(
                    "permission",
                    f"the access key is read-only, or is not allowed to write here ({message})",
                    _USE_WRITER,
                )
            return ErrorText("permission", f"the access key is not allowed to read here ({message})", _CHECK_NETWORK)
        if "expired" in said or "date" in said:
            ahead = skew_in_words(ahead_of_server(answer, self._clock.local()))
            return ErrorText("clock", f"the date of the signature was refused ({ahead})", SET_CLOCK)
        wrong = "the connection string was refused"
        if "Signature" in said:
            wrong = "the Secret in the connection string is wrong"
        elif "Credential" in said:
            wrong = "the store does not recognise the Id in the connection string"
        shown = "the response is not shown, because a sensitive value was sent" if call.is_secret else cleaned(said)
        return ErrorText("credential", f"{wrong} ({shown})", _NEW_ONE)


@lru_cache(maxsize=2)
def _http_date(second: int) -> str:
    """A moment in epoch seconds in the form of the header Date. Hundreds of requests are signed in the same second."""
    return formatdate(second, usegmt=True)


def connect(
    config: StoreConfig, context: StoreContext, environ: Mapping[str, str] = os.environ
) -> tuple[str, Credentials]:
    """The address of the API and the credentials for it. Raises AuthError, PermanentError."""
    endpoint = endpoint_of(config, context)
    if config.options.get("connection_string"):
        return endpoint, HmacKey(lambda: _connection_string(config, context), context.clock)
    request = _token_request(config, context, environ)
    return endpoint, EntraToken(request, _ROLES, f"store {config.name}", context.clock, route_of(config, context))


def endpoint_of(config: StoreConfig, context: StoreContext) -> str:
    """The present address of the API, from configuration and credential. Raises AuthError, PermanentError."""
    return config.endpoint or _endpoint(config, _connection_string(config, context))


def account_of(config: StoreConfig, context: StoreContext) -> str:
    """The address that identifies the store: that of the connection string, even if calls take another way to it (`endpoint`: a
    private link, a proxy). Raises AuthError, PermanentError."""
    if config.options.get("connection_string"):
        return _connection_string(config, context).endpoint
    return endpoint_of(config, context)


def _connection_string(config: StoreConfig, context: StoreContext) -> ConnectionString:
    text = context.resolve(config.options["connection_string"])
    try:
        return ConnectionString.parse(text)
    except ValueError as problem:
        raise AuthError(f"store {config.name}: {problem}") from None


def _endpoint(config: StoreConfig, connection: ConnectionString) -> str:
    if is_plain_http(connection.endpoint) and not config.allow_insecure:
        raise PermanentError(
            f"store {config.name}: the connection string has plain http://, which sends everything unencrypted to other"
            " machine; write https://, or set allow_insecure: true"
        )
    return connection.endpoint


def _token_request(config: StoreConfig, context: StoreContext, environ: Mapping[str, str]) -> TokenRequest:
    options = config.options
    secret, audience = options.get("client_secret"), _audience_of(config.endpoint or "")
    if secret is None:
        return ambient(options.get("client_id"), options.get("tenant_id"), environ, audience)
    authority = environ.get("AZURE_AUTHORITY_HOST")
    return client_secret(
        options["tenant_id"], options["client_id"], lambda: context.resolve(secret), authority, audience
    )


def _audience_of(endpoint: str) -> str:
    """What a token is for: the service, or in national clouds the store itself."""
    host = urlsplit(endpoint).hostname or ""
    return f"https://{host}" if host.endswith((".azure.us", ".azure.cn")) else _AUDIENCE
