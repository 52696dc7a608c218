"""Microsoft Entra ID tokens for an application, a federated workload or a managed identity, renewed before they expire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from kvsync.config.values import is_plain_http
from kvsync.errors import AuthError, PermanentError, StoreError
from kvsync.http.client import Client
from kvsync.http.client_options import ClientLimits, ClientOptions
from kvsync.http.failures import cleaned, sender
from kvsync.http.model import ErrorText, Request, Response
from kvsync.http.route import USUAL, Route
from kvsync.http.shared_token import SharedToken
from kvsync.model.health import Traffic
from kvsync.util.clock import Clock
from kvsync.util.redaction import REDACTOR

_AUTHORITY: Final = "https://login.microsoftonline.com"
_IMDS: Final = "http://169.254.169.254"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_MARGIN: Final = 300.0
"""Seconds before its end at which a token is renewed, or half its life if that is shorter."""
_ATTEMPT: Final = 10.0
"""Seconds that the identity service has to respond."""
_CHECK_IDENTITY: Final = "check tenant_id, client_id and the secret, or the managed identity"


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token, and when to renew it (epoch seconds)."""

    text: str = field(repr=False)
    renew_at: float


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """How to request a token: `base` is the address of the identity service, `who` names the identity. `build` makes every
    request again, because secrets may be rotated."""

    base: str
    who: str
    build: Callable[[], Request]


class Roles(NamedTuple):
    """The names of the roles that a service requires."""

    reading: str
    writing: str


class EntraToken:
    """Adds a token to every request. `roles` are named if the service refuses a call."""

    def __init__(self, request: TokenRequest, roles: Roles, where: str, clock: Clock, route: Route = USUAL) -> None:
        self._request, self._roles, self._clock = request, roles, clock
        self._client = Client(
            where,
            request.base,
            clock,
            Traffic(),
            ClientOptions(limits=ClientLimits(timeout=_ATTEMPT), error_mapper=partial(_refusal, where), route=route),
        )
        self._token = SharedToken[Token]()

    async def sign(self, _call: Request, _host: str) -> Mapping[str, str]:
        """The token, a new one if the old one ends soon. Raises StoreError."""
        token = self._token.current
        if token is None or self._clock.now() >= token.renew_at:
            token = await self._token.newer_than(token, self._fetch)
        return _header(token)

    async def renew(self, refused: Mapping[str, str] | None = None) -> bool:
        """Fetch another token. Raises StoreError."""
        before = self._token.current
        if before is None or (refused is not None and refused != _header(before)):
            return True
        return (await self._token.newer_than(before, self._fetch)).text != before.text

    def explain(self, call: Request, answer: Response) -> ErrorText:
        """Distinguish a refused token from a missing role."""
        if answer.status == 403:
            role = self._roles.writing if call.writes else self._roles.reading
            hint = "assign it on the store; this can take up to 15 minutes"
            return ErrorText("permission", f"{self._request.who} lacks the role {role}", hint)
        hint = "check that tenant and endpoint belong together"
        return ErrorText("credential", f"the store does not accept the token of {self._request.who}", hint)

    async def aclose(self) -> None:
        """Close the connection to the identity service. Idempotent."""
        await self._token.aclose()
        await self._client.aclose()

    async def _fetch(self) -> Token:
        answer = await self._client.send(self._request.build())
        return _token_of(answer.data, self, self._clock.now(), self._client.label)


def _header(token: Token) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token.text}"}


def client_secret(
    tenant: str, client: str, secret: Callable[[], str], authority: str | None, audience: str
) -> TokenRequest:
    """A token for an application by its secret."""
    return _application(tenant, client, lambda: {"client_secret": secret()}, authority, audience)


def federated(tenant: str, client: str, file: Path, authority: str | None, audience: str) -> TokenRequest:
    """A token for a workload, by the token that its platform keeps in a file."""

    def proof() -> dict[str, str]:
        try:
            assertion = file.read_text("ascii").strip()
        except (OSError, ValueError):
            raise AuthError(f"cannot read the federated token file {file}; check AZURE_FEDERATED_TOKEN_FILE") from None
        REDACTOR.register_token(proof, assertion)
        return {"client_assertion_type": _ASSERTION, "client_assertion": assertion}

    return _application(tenant, client, proof, authority, audience)


def managed_identity(client: str | None, environ: Mapping[str, str], audience: str) -> TokenRequest:
    """A token for the identity of this machine, or of the app service that kvsync runs in."""
    base, header = environ.get("IDENTITY_ENDPOINT"), environ.get("IDENTITY_HEADER")
    query = {"resource": audience} | ({"client_id": client} if client else {})
    if base and header:
        REDACTOR.register(header)
        target, headers = urlsplit(base).path, {"X-IDENTITY-HEADER": header}
        query["api-version"] = "2019-08-01"
    else:
        base = environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST") or _IMDS
        target, headers = "/metadata/identity/oauth2/token", {"Metadata": "true"}
        query["api-version"] = "2018-02-01"
    call = Request("GET", f"{target}?{urlencode(query)}", "requesting a token", headers, is_json=True)
    return TokenRequest(base, "the managed identity", lambda: call)


def ambient(client: str | None, tenant: str | None, environ: Mapping[str, str], audience: str) -> TokenRequest:
    """The identity of the environment: an application's secret, a federated token, or a managed identity."""
    client, tenant = client or environ.get("AZURE_CLIENT_ID"), tenant or environ.get("AZURE_TENANT_ID")
    authority = environ.get("AZURE_AUTHORITY_HOST")
    if client and tenant and (secret := environ.get("AZURE_CLIENT_SECRET")):
        REDACTOR.register(secret)
        return client_secret(tenant, client, lambda: environ["AZURE_CLIENT_SECRET"], authority, audience)
    if client and tenant and (file := environ.get("AZURE_FEDERATED_TOKEN_FILE")):
        return federated(tenant, client, Path(file), authority, audience)
    return managed_identity(client, environ, audience)


def _application(
    tenant: str, client: str, proof: Callable[[], Mapping[str, str]], authority: str | None, audience: str
) -> TokenRequest:
    def build() -> Request:
        form = {"grant_type": "client_credentials", "client_id": client, "scope": f"{audience}/.default", **proof()}
        return Request(
            "POST",
            f"/{quote(tenant, safe='')}/oauth2/v2.0/token",
            "requesting a token",
            {"Content-Type": "application/x-www-form-urlencoded"},
            urlencode(form).encode(),
            reads=True,
            is_json=True,
        )

    base = authority or _AUTHORITY
    if is_plain_http(base):
        raise PermanentError(
            "AZURE_AUTHORITY_HOST is plain http://, which would send the secret unencrypted; write https://"
        )
    return TokenRequest(base, f"the application {client}", build)


def _refusal(where: str, call: Request, answer: Response) -> StoreError | None:
    """A 4xx of the identity service is about the credential, or says that the machine has no such identity."""
    if answer.status not in (400, 401, 403, 404):
        return None
    problem = answer.problem()
    said = cleaned(str(problem.get("error_description") or problem.get("error") or "").partition("\n")[0])
    return AuthError(
        f"{where}: {call.what} was refused ({sender(answer)}): {said or 'no reason given'}; {_CHECK_IDENTITY}"
    )


def _token_of(data: Any, holder: object, now: float, where: str) -> Token:
    try:
        text = str(data["access_token"])
        REDACTOR.register_token(holder, text)
        ends = now + float(data["expires_in"]) if "expires_in" in data else float(data["expires_on"])
    except (KeyError, TypeError, ValueError):
        raise AuthError(f"{where}: the response contains no token; check the address of the identity service") from None
    return Token(text, ends - min(_MARGIN, (ends - now) / 2))
