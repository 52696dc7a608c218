"""The emulated store: authentication, API versions, routing, and requests for past states."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from kvsync.emulators.azure.auth import Authenticator, Credential
from kvsync.emulators.azure.cors import SHARED, preflight
from kvsync.emulators.azure.entra import Entra, route_of
from kvsync.emulators.azure.feature_flags import FLAGS
from kvsync.emulators.azure.history import History
from kvsync.emulators.azure.keyvalues import KeyValues
from kvsync.emulators.azure.lists import Lists
from kvsync.emulators.azure.model import View
from kvsync.emulators.azure.problems import Refused, empty, invalid, server_error, throttled
from kvsync.emulators.azure.query import FLAG_RESOURCES, SNAPSHOTS, Arguments, name_in_path
from kvsync.emulators.azure.quota import TIERS, Quota
from kvsync.emulators.azure.snapshots import Snapshots
from kvsync.emulators.azure.tokens import Tokens
from kvsync.emulators.model import Address, Answer, Emulator, Parts, Request
from kvsync.emulators.quantities import http_date
from kvsync.emulators.switches import duration

# Well known on purpose: what listens on loopback and stores test data has nothing to hide, and a restart keeps them.
_OWNER: Final = Credential("kvsync-emulator", base64.b64encode(b"kvsync-emulator-secret-of-no-use").decode())
_READER: Final = Credential("kvsync-reader", base64.b64encode(b"kvsync-emulator-reads-and-no-more").decode(), False)
_TOKEN: Final = "kvsync-emulator-token"  # noqa: S105
_SYNC_ID: Final = "kvsync"

_METHODS: Final = {
    "/kv": ("GET", "HEAD"),
    "/kv/{key}": ("GET", "HEAD", "PUT", "DELETE"),
    "/keys": ("GET", "HEAD"),
    "/labels": ("GET", "HEAD"),
    "/revisions": ("GET", "HEAD"),
    "/ff": ("GET", "HEAD"),
    "/ff/{name}": ("GET", "HEAD", "PUT", "DELETE"),
    "/ff-revisions": ("GET", "HEAD"),
    "/locks/{key}": ("PUT", "DELETE"),
    "/snapshots": ("GET", "HEAD"),
    "/snapshots/{name}": ("GET", "HEAD", "PUT", "PATCH"),
    "/operations": ("GET", "HEAD"),
}


_SINCE: Final = {
    **dict.fromkeys(("/snapshots", "/snapshots/{name}", "/operations"), SNAPSHOTS),
    **dict.fromkeys(("/ff", "/ff/{name}", "/ff-revisions"), FLAG_RESOURCES),
}
"""The version of the API that brought a resource."""


class AzureAppConfig(Emulator):
    """Stands in for one App Configuration store."""

    switches = {  # noqa: RUF012  (declared as a ClassVar in the base)
        "tier": tuple(TIERS),
        "access-keys": ("on", "off"),
        "provisioning": (),
        "token-life": (),
    }

    def __init__(self, parts: Parts) -> None:
        options, self._clock = parts.options, parts.clock
        token = options.token or _TOKEN
        tokens = (Credential("", token), Credential("", f"{token}-reader", False))
        access_keys = options.switches.get("access-keys") != "off"
        life = duration("token-life", options.switches.get("token-life", "1h"))
        self._entra = Entra(Tokens(self._clock.server_time, life), options.data)
        self._authenticator = Authenticator(
            (_OWNER, _READER), tokens, options.anonymous, access_keys, self._entra.credential
        )
        self._token = token
        self._tier = TIERS[options.switches.get("tier", "none")]
        self._quota = Quota(self._tier)
        self._history = History(parts.storage)
        self._key_values = KeyValues(self._history, parts.clock)
        self._lists = Lists(self._history)
        self._flag_history = History(parts.storage, "flag")
        self._flags = KeyValues(self._flag_history, parts.clock, FLAGS)
        self._flag_lists = Lists(self._flag_history, FLAGS)
        given = options.switches.get("provisioning", "0s")
        provisioning = None if given == "failed" else duration("provisioning", given)
        self._snapshots = Snapshots(self._lists, parts.clock, parts.storage, provisioning, self._quota)

    def env(self, address: Address) -> dict[str, str]:
        """Connection strings (one of them may only read), the bearer token, and what signs in with Entra ID."""
        return {
            "AZURE_APPCONFIG_ENDPOINT": address.origin,
            "AZURE_APPCONFIG_CONNECTION_STRING": _connection_string(address, _OWNER),
            "AZURE_APPCONFIG_READER_CONNECTION_STRING": _connection_string(address, _READER),
            "AZURE_APPCONFIG_TOKEN": self._token,
            **self._entra.env(address),
        }

    def close(self) -> None:
        """Remove the token of the federated workload."""
        self._entra.close()

    def route(self, request: Request) -> str:
        """`/kv/{key}` and the like; `other` for paths that lead nowhere."""
        return route_of(request.path) or _resource(request.path)[0] or "other"

    def writes(self, request: Request) -> bool:
        """Whether the request asks for a change; one for a token does not."""
        return route_of(request.path) is None and super().writes(request)

    def reset(self) -> None:
        """Forget key-values, feature flags, revisions, snapshots and spent quota."""
        self._history.clear()
        self._flag_history.clear()
        self._snapshots.clear()
        self._quota.reset()

    def failure(self, request: Request, status: int) -> Answer:
        """429 with a policy and a wait, 401 and 403 empty, others as a problem."""
        if route_of(request.path):
            return self._entra.failure(request, status)
        if status == 429:
            refused = throttled("Total Requests", 0.01)
        elif status < 500:
            refused = empty(status, {"WWW-Authenticate": "HMAC-SHA256, Bearer"} if status == 401 else {})
        else:
            refused = server_error(status)
        return self._with_common_headers(request, refused.answer)

    def write_concurrently(self, request: Request) -> None:
        """Another writer changes the key of a PUT or DELETE of a key-value."""
        resource, name = _resource(request.path)
        if resource == "/kv/{key}":
            try:
                self._key_values.write_concurrently(name_in_path(name, "key"), Arguments(request).label)
            except Refused:
                return  # a key that cannot be written is not written by others either

    def answer(self, request: Request) -> Answer:
        """As the service answers."""
        if route_of(request.path):
            return self._entra.answer(request)
        if request.method == "OPTIONS":
            return self._with_common_headers(request, preflight(request))
        try:
            answer = self._answer(request, Arguments(request))
        except Refused as refused:
            answer = refused.answer
        return self._with_common_headers(request, answer)

    def _answer(self, request: Request, arguments: Arguments) -> Answer:
        self._authenticator.check(request, self._clock.server_time())
        self._quota.spend(self._clock.now(), writes=self.writes(request))
        resource, encoded = _resource(request.path)
        if resource is None:
            raise empty(404)
        version = arguments.version
        if request.method not in _METHODS[resource]:
            raise empty(405, {"Allow": ", ".join(_METHODS[resource])})
        if version < _SINCE.get(resource, version):
            raise arguments.unsupported()
        if resource in ("/kv/{key}", "/locks/{key}"):
            return self._key_value(resource, name_in_path(encoded, "key"), arguments)
        if resource == "/ff/{name}":
            return self._one(self._flags, name_in_path(encoded, "name"), arguments)
        if resource == "/snapshots/{name}":
            return self._snapshot(name_in_path(encoded, "name"), arguments)
        return self._list(resource, arguments)

    def _key_value(self, resource: str, key: str, arguments: Arguments) -> Answer:
        if resource == "/locks/{key}":
            return self._key_values.lock(key, arguments, wanted=arguments.request.method == "PUT")
        return self._one(self._key_values, key, arguments)

    def _one(self, held: KeyValues, name: str, arguments: Arguments) -> Answer:
        """Answer for one key-value or feature flag."""
        method = arguments.request.method
        if method == "PUT":
            self._quota.check_storage(self._history.size + self._flag_history.size + len(arguments.request.body))
            return held.put(name, arguments)
        if method == "DELETE":
            return held.delete(name, arguments)
        return self._seen(arguments, lambda view: held.get(name, arguments, view), held.history)

    def _snapshot(self, name: str, arguments: Arguments) -> Answer:
        actions = {"PUT": self._snapshots.create, "PATCH": self._snapshots.patch}
        return actions.get(arguments.request.method, self._snapshots.get)(name, arguments)

    def _list(self, resource: str, arguments: Arguments) -> Answer:
        snapshot = arguments.one("snapshot") if arguments.version >= SNAPSHOTS else None
        if resource == "/snapshots":
            return self._snapshots.list(arguments)
        if resource == "/operations":
            return self._snapshots.operation(arguments)
        if resource == "/kv" and snapshot is not None:
            return self._snapshots.content(snapshot, arguments)
        if resource == "/kv":
            return self._seen(arguments, lambda view: self._lists.key_values(arguments, view))
        if resource == "/revisions":
            return self._seen(arguments, lambda view: self._lists.revisions(arguments, view))
        flags, kept = self._flag_lists, self._flag_history
        if resource == "/ff":
            return self._seen(arguments, lambda view: flags.key_values(arguments, view), kept)
        if resource == "/ff-revisions":
            return self._seen(arguments, lambda view: flags.revisions(arguments, view), kept)
        if resource == "/labels" and _labelled(arguments) == "ff":
            return self._seen(arguments, lambda view: flags.names("label", arguments, view), kept)
        kind = resource[1:-1]
        return self._seen(arguments, lambda view: self._lists.names(kind, arguments, view))

    def _seen(self, arguments: Arguments, read: Callable[[View], Answer], history: History | None = None) -> Answer:
        """Read the state that the request may see: an earlier one that it asks for, or a stale one that a fault gives it. Of
        feature flags, whose `history` is another one, the fault shows the present."""
        request, now = arguments.request, self._clock.now()
        (history or self._history).prune(now - self._tier.revisions)
        moment = arguments.moment if arguments.moment is not None and arguments.moment <= now else None
        is_stale = bool(request.stale) and history in (None, self._history)
        known = max(_known_number(request), self._history.number_at(now - request.stale)) if is_stale else None
        try:
            answer = read(View(moment, known))
        except Refused as refused:
            answer = refused.answer
        if known is not None:  # who sees an old state learns of no newer one
            answer = _with_headers(answer, {"Sync-Token": _sync_token(known)})
        if moment is None or not (answer.status < 300 or answer.status == 404):
            return answer
        original = f'<{request.target}>; rel="original"'
        link = ", ".join(filter(None, (answer.headers.get("Link"), original)))
        return _with_headers(answer, {"Memento-Datetime": http_date(moment), "Link": link})

    def _with_common_headers(self, request: Request, answer: Answer) -> Answer:
        """With what every answer carries."""
        id_ = str(uuid.uuid4())
        extra = {"x-ms-request-id": id_, "x-ms-correlation-request-id": id_, "Cache-Control": "no-cache", **SHARED}
        if client_id := request.headers.get("x-ms-client-request-id"):
            extra["x-ms-client-request-id"] = client_id
        if answer.status < 500:
            extra["Sync-Token"] = _sync_token(self._history.number)
        return replace(answer, headers={**extra, **answer.headers})


def _resource(path: str) -> tuple[str | None, str]:
    """The resource that a path leads to, and the name in it, still encoded."""
    collection, slash, name = path.removeprefix("/").partition("/")
    for resource in _METHODS:
        head, _, placeholder = resource.removeprefix("/").partition("/")
        if head == collection and bool(placeholder) is bool(name):
            return resource, name
    known = {"locks": "/locks/{key}", "kv": "/kv"}
    return (known.get(collection), "") if not slash or not name else (None, "")


def _labelled(arguments: Arguments) -> str:
    """Which resources `/labels` is about: key-values (`kv`), or feature flags (`ff`). Raises Refused for others."""
    given = arguments.one("resourcetype") or arguments.one("resource_type") or "kv"
    if arguments.version < FLAG_RESOURCES:
        return "kv"
    if given not in ("kv", "ff"):
        raise invalid("resourceType")
    return given


def _with_headers(answer: Answer, headers: Mapping[str, str]) -> Answer:
    return replace(answer, headers={**answer.headers, **headers})


def _connection_string(address: Address, credential: Credential) -> str:
    return f"Endpoint={address.origin};Id={credential.id};Secret={credential.secret}"


def _sync_token(number: int) -> str:
    value = base64.b64encode(str(number).encode()).decode()
    return f"{_SYNC_ID}={value};sn={number}"


def _known_number(request: Request) -> int:
    """The number of the last write that the client knows to have happened; 0 when it brings no token of ours."""
    tokens = dict(part.strip().partition("=")[::2] for part in request.headers.get("Sync-Token", "").split(","))
    try:
        return int(base64.b64decode(tokens.get(_SYNC_ID, "")))
    except ValueError:
        return 0
