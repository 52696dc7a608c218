"""Entries with a meaning to Azure's own clients: feature flags and Key Vault references, and the rules for them.

Source: the schemas of Microsoft.FeatureManagement (FeatureFlag v1.2.0 and v2.0.0), and "Key Vault references" in the
documentation of App Configuration.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from kvsync.model.canonical import FLAG_ESSENCE, is_flag_type
from kvsync.stores.azure_appconfig.flag_resources import resource_problems
from kvsync.util.json_schema import mismatches, validator_of

FLAG_PREFIX: Final = ".appconfig.featureflag/"
"""The prefix of the keys of feature flags."""

REFERENCE_TYPE: Final = "application/vnd.microsoft.appconfig.keyvaultref+json;charset=utf-8"

_REFERENCE_ESSENCE: Final = REFERENCE_TYPE.partition(";")[0]
_BAD_NAME: Final = re.compile(r"[%:]")

_TEXT: Final = {"type": "string"}
_NULLABLE_TEXT: Final = {"type": ["string", "null"]}
_PERCENT: Final = {"type": "number", "minimum": 0, "maximum": 100}
_NAMES: Final = {"type": "array", "items": _TEXT}


def _several(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    item = {"type": "object", "properties": required | (optional or {}), "required": list(required)}
    return {"type": ["array", "null"], "items": item}


FLAG_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string", "minLength": 1},
        "description": _NULLABLE_TEXT,
        "display_name": _NULLABLE_TEXT,
        "enabled": {"type": "boolean"},
        "conditions": {
            "type": ["object", "null"],
            "properties": {
                "requirement_type": {"enum": ["Any", "All"]},
                "client_filters": _several(
                    {"name": {"type": "string", "minLength": 1}}, {"parameters": {"type": ["object", "null"]}}
                ),
            },
        },
        "variants": _several(
            {"name": {"type": "string", "minLength": 1}},
            {"configuration_value": True, "status_override": {"enum": ["None", "Enabled", "Disabled"]}},
        ),
        "allocation": {
            "type": ["object", "null"],
            "properties": {
                "default_when_enabled": _TEXT,
                "default_when_disabled": _TEXT,
                "seed": _TEXT,
                "user": _several({"variant": _TEXT, "users": _NAMES}),
                "group": _several({"variant": _TEXT, "groups": _NAMES}),
                "percentile": _several({"variant": _TEXT, "from": _PERCENT, "to": _PERCENT}),
            },
        },
        "telemetry": {
            "type": ["object", "null"],
            "properties": {
                "enabled": {"type": "boolean"},
                "metadata": {"type": ["object", "null"], "additionalProperties": _TEXT},
            },
        },
    },
}

_REFERENCE_SCHEMA: Final[dict[str, Any]] = {
    # Without `uri` an entry is not a reference, but the service keeps it, and other programs may have a use for it.
    "properties": {"uri": {"type": "string", "pattern": "^https://[^/?#\\s]+/[^?#\\s]+$"}},
}


def well_known_problems(key: str, content_type: str | None, value: bytes) -> Iterator[str]:
    """Why Azure's clients could not use an entry that its content type makes a feature flag or a Key Vault reference. `key` is
    the key in the store. The messages repeat no value."""
    essence = (content_type or "").partition(";")[0].strip().lower()
    if essence == FLAG_ESSENCE and key.startswith(FLAG_PREFIX):  # elsewhere, clients do not take it for a flag
        yield from _flag_problems(key, value)
    elif essence == _REFERENCE_ESSENCE:
        yield from (
            f"not a Key Vault reference: {_located(one.path)}{one.message}" for one in _found("reference", value)
        )


def flag_resource_problems(key: str, content_type: str | None, value: bytes) -> Iterator[str]:
    """Why an entry cannot be a feature flag that is a resource with the name `key`. The messages repeat no value."""
    if not is_flag_type(content_type):
        yield "the store has feature flags only; write the entry as feature:"
        return
    found = list(_flag_problems(f"{FLAG_PREFIX}{key}", value))
    yield from found or resource_problems(value)


def _flag_problems(key: str, value: bytes) -> Iterator[str]:
    found = [f"not a feature flag: {_located(one.path)}{one.message}" for one in _found("flag", value)]
    yield from found
    name = key.removeprefix(FLAG_PREFIX)
    if not name or _BAD_NAME.search(name):
        yield "the name of a feature flag must not be empty or contain % or :"
    if not found and json.loads(value)["id"] != name:
        yield "the id of a feature flag must be the name in its key"


def _found(kind: str, value: bytes) -> Any:
    return mismatches(_validator(kind), value)


@cache
def _validator(kind: str) -> Any:
    return validator_of(FLAG_SCHEMA if kind == "flag" else _REFERENCE_SCHEMA)


def _located(path: tuple[str | int, ...]) -> str:
    return f"{'/'.join(map(str, path))}: " if path else ""
