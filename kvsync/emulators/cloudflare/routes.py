"""Routing of raw paths. Names are decoded exactly once, after the path was split."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from kvsync.emulators.cloudflare.envelope import Refused, failed, refused

ROOT: Final = "/client/v4"
_ACCOUNT: Final = "/accounts/{account_id}"
NAMESPACES: Final = _ACCOUNT + "/storage/kv/namespaces"
NAMESPACE: Final = NAMESPACES + "/{namespace_id}"
BULK, BULK_DELETE, BULK_GET = (NAMESPACE + path for path in ("/bulk", "/bulk/delete", "/bulk/get"))
KEYS, METADATA, VALUE = (NAMESPACE + path for path in ("/keys", "/metadata/{key_name}", "/values/{key_name}"))
VERIFY, VERIFY_ACCOUNT_TOKEN = "/user/tokens/verify", _ACCOUNT + "/tokens/verify"
USER, MEMBERSHIPS, ACCOUNTS, ACCOUNT = "/user", "/memberships", "/accounts", _ACCOUNT

METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    VERIFY: ("GET",),
    USER: ("GET",),
    MEMBERSHIPS: ("GET",),
    ACCOUNTS: ("GET",),
    ACCOUNT: ("GET",),
    VERIFY_ACCOUNT_TOKEN: ("GET",),
    NAMESPACES: ("GET", "POST"),
    NAMESPACE: ("GET", "PUT", "DELETE"),
    BULK: ("PUT", "DELETE"),
    BULK_DELETE: ("POST",),
    BULK_GET: ("POST",),
    KEYS: ("GET",),
    METADATA: ("GET",),
    VALUE: ("GET", "PUT", "DELETE"),
}
_PATTERNS: Final = {route: re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", route)) for route in METHODS}


@dataclass(frozen=True, slots=True)
class Place:
    """A route and the names in its path, still encoded; "" for those that it does not have."""

    route: str
    account: str = ""
    namespace: str = ""
    key: str = ""


def locate(path: str) -> Place | None:
    """The place that a raw path leads to; None for no place at all."""
    below = path.removeprefix(ROOT)
    if below == path:
        return None
    for route, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(below):
            names = match.groupdict("")
            return Place(route, *(names.get(name, "") for name in ("account_id", "namespace_id", "key_name")))
    return None


def no_route(status: int, path: str) -> Refused:
    """There is nothing at this path."""
    text = f"Could not route to {path.removeprefix(ROOT)}, perhaps your object identifier is invalid?"
    return Refused(failed(status, (7003, text), (7000, "No route for that URI")))


def namespace_id(encoded: str) -> str:
    """The id as it is kept: 32 hex digits. Raises Refused."""
    digits = encoded.replace("-", "").lower()
    if not re.fullmatch("[0-9a-f]{32}", digits):
        text = f"could not parse UUID from request's namespace_id: 'uuid: incorrect UUID length: {encoded}'"
        raise refused(400, 10011, text)
    return digits


def key_name(encoded: str) -> str:
    """The name of a key in a path, decoded once. Raises Refused for what is not UTF-8."""
    try:
        return unquote_to_bytes(encoded).decode()
    except UnicodeError:
        raise refused(400, 10012, "could not decode key name: 'invalid UTF-8'") from None


def is_account(encoded: str) -> bool:
    """Whether this may be the id of an account at all."""
    return re.fullmatch("[0-9a-fA-F]{32}", encoded) is not None
