"""Conversion of feature flags between key-values, as clients and state files have them, and resources of their own.

A resource has no id and no content type. Its filters are `conditions.filters`, their parameters are texts, and a variant has a
`value` with a content type in place of a `configuration_value`. Members that say nothing are left out in both forms.

Source: "Enhanced feature flags" in the REST reference of App Configuration, api-version 2026-05-01-preview.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from kvsync.model.canonical import is_json_type
from kvsync.model.exact_json import read_json, write_json
from kvsync.model.feature_flags import FLAG_TYPE

_SHARED: Final = ("allocation", "telemetry")
"""Members that are the same in both forms."""

_MEMBERS: Final = frozenset({"id", "description", "enabled", "conditions", "variants", *_SHARED})
_CONDITIONS: Final = frozenset({"client_filters", "requirement_type"})
_VARIANT: Final = frozenset({"name", "configuration_value", "status_override"})
_JSON: Final = "application/json"

_OF_RESOURCE: Final = frozenset({"name", "label", "etag", "tags", "locked", "last_modified"})
"""Members of a resource that are not part of the flag."""


def resource_of(value: bytes) -> dict[str, Any]:
    """The resource for a flag that is a key-value. Raises ValueError if it has members that a resource does not have."""
    flag = _parsed(value)
    conditions = flag.get("conditions") or {}
    variants = flag.get("variants") or []
    for known, found in ((_MEMBERS, flag), (_CONDITIONS, conditions), *((_VARIANT, one) for one in variants)):
        if unknown := sorted(found.keys() - known):
            raise ValueError(f"a feature flag resource cannot have {unknown[0]!r}; remove it")
    filters = [_filter(one) for one in conditions.get("client_filters") or []]
    chosen = {"filters": filters, "requirement_type": _unless_default(conditions.get("requirement_type"), "Any")}
    members = {
        "description": flag.get("description"),
        "conditions": _filled(chosen),
        "variants": [_variant(one) for one in variants],
        **{name: _filled(flag.get(name) or {}) for name in _SHARED},
    }
    return {"enabled": flag.get("enabled", False), **_filled(members)}


def key_value_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """The key-value for a resource of the API. Members that kvsync does not know are kept, so that they are seen. Raises
    KeyError, TypeError or AttributeError for another form."""
    conditions = dict(item.get("conditions") or {})
    filters = [_read_filter(one) for one in conditions.pop("filters", None) or []]
    conditions["requirement_type"] = _unless_default(conditions.get("requirement_type"), "Any")
    flag = {
        **_filled({name: item[name] for name in item.keys() - _MEMBERS - _OF_RESOURCE}),
        "id": item["name"],
        "description": item.get("description") or "",
        "enabled": bool(item["enabled"]),
        "conditions": {"client_filters": filters, **_filled(conditions)},
        **_filled({"variants": [_read_variant(one) for one in item.get("variants") or []]}),
        **_filled({name: _filled(item.get(name) or {}) for name in _SHARED}),
    }
    fields = {name: item.get(name) for name in ("label", "etag", "tags", "locked")}
    return {"key": item["name"], "value": write_json(flag), "content_type": FLAG_TYPE, **fields}


def normal_flag(value: bytes) -> bytes:
    """The text of a flag as it comes back from a resource. Raises ValueError if it cannot be one."""
    return str(key_value_of({"name": _parsed(value)["id"], **resource_of(value)})["value"]).encode()


def resource_problems(value: bytes) -> Iterator[str]:
    """Why a valid flag cannot be a resource."""
    try:
        resource_of(value)
    except ValueError as error:
        yield str(error)


def _parsed(value: bytes) -> dict[str, Any]:
    flag = read_json(value.decode())
    if not isinstance(flag, dict) or not isinstance(flag.get("id"), str):
        raise ValueError("not a feature flag")
    return flag


def _filter(one: Mapping[str, Any]) -> dict[str, Any]:
    parameters = (one.get("parameters") or {}).items()
    texts = {name: value if isinstance(value, str) else write_json(value) for name, value in parameters}
    return {"name": one["name"], **_filled({"parameters": texts})}


def _read_filter(one: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {name: _read_parameter(value) for name, value in (one.get("parameters") or {}).items()}
    return {"name": one["name"], **_filled({"parameters": parameters})}


def _read_parameter(value: Any) -> Any:
    """An object or a list that a parameter holds as text; any other text stays one."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            return read_json(value)
    return value


def _variant(one: Mapping[str, Any]) -> dict[str, Any]:
    found = {"name": one["name"], **_filled({"status_override": _unless_default(one.get("status_override"), "None")})}
    value = one.get("configuration_value")
    if isinstance(value, str):
        return found | {"value": value}
    return found if value is None else found | {"value": write_json(value), "content_type": _JSON}


def _read_variant(one: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: member for name, member in one.items() if name not in ("value", "content_type")}
    found["status_override"] = _unless_default(one.get("status_override"), "None")
    value = one.get("value")
    if value is not None and is_json_type(one.get("content_type")):
        with suppress(ValueError, RecursionError):  # another program wrote it: it is shown as the text that it is
            value = read_json(value)
    return _filled(found) | ({} if value is None else {"configuration_value": value})


def _unless_default(text: Any, default: str) -> Any:
    """A word, unless it is the one that holds anyway."""
    return None if text == default else text


def _filled(members: Mapping[str, Any]) -> dict[str, Any]:
    """The members that say something."""
    return {name: member for name, member in members.items() if member not in (None, "", [], {})}
