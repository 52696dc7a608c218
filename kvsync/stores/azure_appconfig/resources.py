"""Resources that hold entries (key-values, or feature flags of their own kind): URLs and bodies."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from kvsync.model.canonical import canonical_flag_text
from kvsync.model.entry import Content
from kvsync.stores.azure_appconfig.flag_resources import key_value_of, resource_of
from kvsync.stores.azure_appconfig.items import Nulls


class ApiVersion(StrEnum):
    """The versions of the API that kvsync can use. The first has descriptions, the second is for endpoints without it."""

    DESCRIPTIONS = "2026-04-01"
    EARLIER = "2024-09-01"


class FeatureFlags(StrEnum):
    """Where a store keeps feature flags: in key-values, next to all other entries, or as resources, which are all it has."""

    KEY_VALUES = "key-values"
    RESOURCES = "resources"


_FLAG_VERSION: Final = "2026-05-01-preview"
"""The version of the API that has feature flags as resources."""

_RESERVED: Final = re.compile(r"([*,\\])")


class ListingFilter(NamedTuple):
    """What a listing selects: entries with any label whose key begins with `prefix`, and which have all of `tags`."""

    prefix: str
    tags: tuple[tuple[str, str], ...] = ()


class Resource(NamedTuple):
    """A kind of resource: its paths, the name of its key, its media type, its name, and the `cure` if the endpoint does
    not offer it. `read` makes a key-value of an item, `body` the members of an item of a content (raises ValueError),
    `is_written` says whether a key-value has the value of a content."""

    version: str
    path: str
    names_path: str
    key: str
    media_type: str
    kind: str
    cure: str
    read: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    body: Callable[[Content, Nulls], Mapping[str, Any]]
    is_written: Callable[[Mapping[str, Any], Content], bool]
    has_descriptions: bool = False

    def target(self, key: str, label: str | None) -> str:
        """Path and query of one entry. Without a label, the parameter is left out, which has the same meaning."""
        target = f"{self.path}/{quote(key, safe='')}?{self._query}"
        return target if label is None else f"{target}&label={quote(label, safe='')}"

    def listing(self, wanted: ListingFilter) -> str:
        """Path and query of the first page of a listing."""
        tags = (quote(f"{_escaped_tag(name)}={_escaped_tag(text)}", safe="") for name, text in wanted.tags)
        chosen = "".join(f"&tags={one}" for one in tags)
        return f"{self.path}?{self._query}&{self.key}={quote(key_filter(wanted.prefix), safe='')}{chosen}"

    def names(self, name: str | None = None) -> str:
        """Path and query of the first page of all names, or of one name."""
        target = f"{self.names_path}{'&' if '?' in self.names_path else '?'}{self._query}"
        return target if name is None else f"{target}&name={quote(name, safe='')}"

    @property
    def _query(self) -> str:
        return f"api-version={self.version}"


def key_filter(prefix: str) -> str:
    """The filter of keys that begin with `prefix`."""
    return f"{_escaped(prefix)}*"


def key_values(version: ApiVersion) -> Resource:
    """Key-values, in one version of the API."""
    return Resource(
        *(version, "/kv", "/keys", "key", "application/vnd.microsoft.appconfig.kv+json", "a key-value"),
        cure=f"set api_version: {ApiVersion.EARLIER} for this store",
        read=lambda item: item,
        body=_key_value_body,
        is_written=_is_key_value_written,
        has_descriptions=version is ApiVersion.DESCRIPTIONS,
    )


def _is_flag_written(item: Mapping[str, Any], content: Content) -> bool:
    return canonical_flag_text(str(item["value"]).encode()) == canonical_flag_text(content.value)


FLAGS: Final = Resource(
    *(_FLAG_VERSION, "/ff", "/ff?$select=name", "name"),
    'application/json; profile="https://azconfig.io/mime-profiles/ff"',
    "a feature flag",
    cure="remove feature_flags: resources from this store",
    read=key_value_of,
    body=lambda content, _: resource_of(content.value),
    is_written=_is_flag_written,
)
"""Feature flags as resources."""


def _key_value_body(content: Content, nulls: Nulls) -> dict[str, Any]:
    described = {"description": content.description} if content.description else {}
    value = content.value.decode() or (None if nulls.value else "")
    return {"value": value, "content_type": content.content_type, **described}


def _is_key_value_written(item: Mapping[str, Any], content: Content) -> bool:
    is_described = (item.get("description") or "") == (content.description or "")
    return (item.get("value") or "") == content.value.decode() and is_described


def _escaped(text: str) -> str:
    return _RESERVED.sub(r"\\\1", text)


def _escaped_tag(text: str) -> str:
    return _escaped(text).replace("=", "\\=")
