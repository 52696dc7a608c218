"""Routing of raw paths. Names are decoded exactly once, after the path was split.

Dot segments that arrive as they are written are resolved, as what stands in front of a service does: `…/S/records/..` is
`…/S`. Most HTTP clients do so before they send, and either way `DELETE` removes a whole store. `%2E%2E` stays a name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

ROOT: Final = "/v2"
STORES: Final = "/key-value-stores"
STORE: Final = STORES + "/{storeId}"
KEYS, RECORDS = STORE + "/keys", STORE + "/records"
RECORD: Final = RECORDS + "/{recordKey}"
ME: Final = "/users/me"
LIMITS, USAGE, USER = ME + "/limits", ME + "/usage/monthly", "/users/{userId}"
STORAGE: Final = "/_storage/{storeId}/{recordKey}"
"""Where redirected reads end up: not under `/v2`, and open to everybody, as a URL signed for a storage host is."""

METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    ME: ("GET",),
    LIMITS: ("GET",),
    USAGE: ("GET",),
    USER: ("GET",),
    STORES: ("GET", "POST"),
    STORE: ("GET", "PUT", "DELETE"),
    KEYS: ("GET",),
    RECORDS: ("GET",),
    RECORD: ("GET", "HEAD", "PUT", "POST", "DELETE"),
    STORAGE: ("GET",),
}
_PATTERNS: Final = {route: re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", route)) for route in METHODS}


@dataclass(frozen=True, slots=True)
class Place:
    """A route and the names in its path, decoded; "" for those that it does not have."""

    route: str
    store: str = ""
    key: str = ""
    user: str = ""


def locate(path: str) -> Place | None:
    """The place that a raw path leads to; None for no place at all."""
    resolved = _resolve(path)
    below = resolved.removeprefix(ROOT)
    for route, pattern in _PATTERNS.items():
        match = pattern.fullmatch(resolved if route == STORAGE else below)
        if match and (route == STORAGE or below != resolved):
            names = match.groupdict("")
            return Place(route, *(unquote(names.get(name, "")) for name in ("storeId", "recordKey", "userId")))
    return None


def allows(place: Place, method: str) -> bool:
    """Whether a route has a method; where there is GET there is HEAD."""
    methods = METHODS[place.route]
    return method in methods or (method == "HEAD" and "GET" in methods)


def _resolve(path: str) -> str:
    """Without dot segments, and without slashes at the end."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[max(1, len(kept) - 1) :]
        elif segment != ".":
            kept.append(segment)
    return "/".join(kept).rstrip("/")
