"""Microsoft Entra ID: the token endpoints of the authority, of an app service and of a virtual machine."""

from __future__ import annotations

import hmac
import json
import tempfile
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from kvsync.emulators.azure.auth import Credential
from kvsync.emulators.azure.tokens import OWNER, READER, TENANT, Tokens, assertion, is_assertion, knows
from kvsync.emulators.model import Address, Answer, Request

_SECRET: Final = "kvsync-emulator-client-secret"  # noqa: S105  (well known on purpose, like the access keys)
_HEADER: Final = "kvsync-emulator-identity-header"
_FILE: Final = "azure-federated-token"
_JWT_BEARER: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_OTHER_IDS: Final = frozenset({"object_id", "principal_id", "mi_res_id", "msi_res_id"})
"""Other names of an identity; no machine has one."""

_TYPE: Final = "Bearer"
_APP_SERVICE: Final = "/msi/token"
_MACHINE: Final = "/metadata/identity/oauth2/token"
_TOKEN: Final = "/oauth2/v2.0/token"  # noqa: S105
_DISCOVERY: Final = "/v2.0/.well-known/openid-configuration"
_METHODS: Final = {f"/{{tenant}}{_TOKEN}": "POST"}
"""Methods of the routes; all others are GET."""


class _Refusal(NamedTuple):
    """An error of the authority. `number` is that of its message."""

    status: int
    error: str
    number: int
    text: str


class Entra:
    """One directory with two applications, which are identities of the machine as well: one may write, one only read. `data` is
    the folder for the token of the federated workload."""

    def __init__(self, tokens: Tokens, data: Path | None) -> None:
        self._tokens, self._data = tokens, data
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def env(self, address: Address) -> dict[str, str]:
        """What clients read to sign in as an application, as a federated workload, and as a managed identity."""
        return {
            "AZURE_AUTHORITY_HOST": address.origin,
            "AZURE_TENANT_ID": TENANT,
            "AZURE_CLIENT_ID": OWNER,
            "AZURE_APPCONFIG_READER_CLIENT_ID": READER,
            "AZURE_CLIENT_SECRET": _SECRET,
            "AZURE_FEDERATED_TOKEN_FILE": str(self._written()),
            "AZURE_POD_IDENTITY_AUTHORITY_HOST": address.origin,
            "IDENTITY_ENDPOINT": f"{address.origin}{_APP_SERVICE}",
            "IDENTITY_HEADER": _HEADER,
        }

    def close(self) -> None:
        """Remove the token of the workload, unless it has a folder of its own."""
        if self._folder is not None:
            self._folder.cleanup()

    def _written(self) -> Path:
        """The file with the token of the workload."""
        if self._data is None and self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="kvsync-emulator-")
        file = (self._data or Path(self._folder.name if self._folder else "")).resolve() / _FILE
        file.write_text(assertion(), "ascii")
        return file

    def credential(self, token: str, origin: str) -> Credential:
        """What a token permits at the store with this address. Raises ValueError, which says why it is refused."""
        return self._tokens.credential(token, origin)

    def answer(self, request: Request) -> Answer:
        """As the service of the route answers."""
        route = route_of(request.path)
        assert route is not None, "the path is that of another service"
        if request.method != _METHODS.get(route, "GET"):
            return Answer(405, {"Allow": _METHODS.get(route, "GET")})
        if route == _APP_SERVICE:
            return self._identity(request, _is_equal(request.headers.get("X-IDENTITY-HEADER", ""), _HEADER))
        if route == _MACHINE:
            return self._identity(request, request.headers.get("Metadata", "").lower() == "true")
        if route.endswith(_DISCOVERY):
            return _document(200, _discovered(request))
        return self._application(request)

    def failure(self, request: Request, status: int) -> Answer:
        """Throttled (429), broken (5xx), or refused for no reason of the client's."""
        route = route_of(request.path)
        if route in (_APP_SERVICE, _MACHINE):
            return _document(status, {"error": "unknown", "error_description": "Failed to retrieve token"})
        errors = {401: "invalid_client", 429: "temporarily_unavailable"}
        error = errors.get(status, "temporarily_unavailable" if status >= 500 else "invalid_request")
        return self._refused(_Refusal(status, error, 90033, "A transient error has occurred. Please try again."))

    def _application(self, request: Request) -> Answer:
        """A token for an application that proves who it is."""
        form = dict(parse_qsl(request.body.decode("utf-8", "replace")))
        refusal = _refusal(request.path.split("/")[1], form)
        if refusal is not None:
            return self._refused(refusal)
        audience = form["scope"].removesuffix("/.default").rstrip("/")
        life = int(self._tokens.life)
        token = self._tokens.issue(form["client_id"], audience, request.origin)
        return _document(200, {"token_type": _TYPE, "expires_in": life, "ext_expires_in": life, "access_token": token})

    def _identity(self, request: Request, may_ask: bool) -> Answer:
        """A token for an identity of this machine."""
        query = dict(request.query)
        if not may_ask:
            return _not_granted("Required metadata header not specified")
        if not query.get("resource"):
            return _not_granted("Required query variable 'resource' is missing")
        application = query.get("client_id", OWNER)
        if not knows(application) or not query.keys().isdisjoint(_OTHER_IDS):
            return _not_granted("Identity not found")
        token = self._tokens.issue(application, query["resource"].rstrip("/"), request.origin)
        return _document(200, self._granted(token, application, query["resource"]))

    def _granted(self, token: str, application: str, resource: str) -> dict[str, str]:
        """The answer to an identity of a machine; numbers are texts in it."""
        now, life = int(self._tokens.now()), int(self._tokens.life)
        return {
            "access_token": token,
            "client_id": application,
            "expires_in": str(life),
            "expires_on": str(now + life),
            "ext_expires_in": str(life),
            "not_before": str(now),
            "resource": resource,
            "token_type": _TYPE,
        }

    def _refused(self, refusal: _Refusal) -> Answer:
        status, error, number, text = refusal
        trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
        moment = datetime.fromtimestamp(self._tokens.now(), UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        description = f"AADSTS{number}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {moment}"
        document = {
            "error": error,
            "error_description": description,
            "error_codes": [number],
            "timestamp": moment,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"https://login.microsoftonline.com/error?code={number}",
        }
        return _document(status, document)


def route_of(path: str) -> str | None:
    """The route of a token endpoint, `/{tenant}/oauth2/v2.0/token` and the like; None for all other paths."""
    if path in (_APP_SERVICE, _MACHINE):
        return path
    _, _, rest = path.removeprefix("/").partition("/")
    return f"/{{tenant}}/{rest}" if f"/{rest}" in (_TOKEN, _DISCOVERY) else None


def _refusal(tenant: str, form: Mapping[str, str]) -> _Refusal | None:
    """Why an application gets no token; None if it gets one."""
    for name in ("grant_type", "client_id", "scope"):
        if not form.get(name):
            text = f"The request body must contain the following parameter: '{name}'."
            return _Refusal(400, "invalid_request", 900144, text)
    application = form["client_id"]
    if tenant != TENANT:
        return _Refusal(400, "invalid_request", 90002, f"Tenant '{tenant}' not found.")
    if form["grant_type"] != "client_credentials":
        text = f"The app requested an unsupported grant type '{form['grant_type']}'."
        return _Refusal(400, "unsupported_grant_type", 70003, text)
    if not knows(application):
        text = f"Application with identifier '{application}' was not found in the directory 'kvsync'."
        return _Refusal(400, "unauthorized_client", 700016, text)
    if not form["scope"].startswith("https://") or not form["scope"].endswith("/.default"):
        text = f"The provided value for scope {form['scope']} is not valid."
        return _Refusal(400, "invalid_scope", 1002012, text)
    return _doubt(application, form)


def _doubt(application: str, form: Mapping[str, str]) -> _Refusal | None:
    """Why the application is not believed to be itself."""
    if "client_assertion" in form:
        if form.get("client_assertion_type") == _JWT_BEARER and is_assertion(form["client_assertion"]):
            return None
        text = "No matching federated identity record found for presented assertion subject."
        return _Refusal(401, "invalid_client", 700213, text)
    if "client_secret" not in form:
        text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
        return _Refusal(401, "invalid_client", 7000218, text)
    if _is_equal(form["client_secret"], _SECRET):
        return None
    return _Refusal(401, "invalid_client", 7000215, f"Invalid client secret provided for app '{application}'.")


def _discovered(request: Request) -> dict[str, Any]:
    base = f"{request.origin}/{request.path.split('/')[1]}"
    return {
        "token_endpoint": f"{base}{_TOKEN}",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "issuer": f"{base}/v2.0",
        "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
        "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
        "jwks_uri": f"{base}/discovery/v2.0/keys",
        "tenant_region_scope": None,
    }


def _is_equal(text: str, secret: str) -> bool:
    return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), secret.encode())


def _not_granted(description: str) -> Answer:
    return _document(400, {"error": "invalid_request", "error_description": description})


def _document(status: int, document: Mapping[str, Any]) -> Answer:
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Cache-Control": "no-store, no-cache",
        "Pragma": "no-cache",
        "x-ms-request-id": str(uuid.uuid4()),
    }
    return Answer(status, headers, json.dumps(document, separators=(",", ":")).encode())
