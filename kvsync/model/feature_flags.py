"""Feature flags as Azure App Configuration keeps them: their content type, and their text as the portal writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from kvsync.model.canonical import FLAG_ESSENCE, canonical_flag_text
from kvsync.model.exact_json import write_json

FLAG_TYPE: Final = f"{FLAG_ESSENCE};charset=utf-8"
"""Content type of a feature flag."""

TARGETING: Final = "Microsoft.Targeting"
"""Name of the filter that `targeting` adds."""

_AS_WRITTEN: Final = ("display_name", "variants", "allocation", "telemetry")
"""Members of a flag that state files have under the same name."""


def flag_text(name: str, fields: Mapping[str, Any]) -> str:
    """The text of the flag `name` with the fields of `{feature: …}`, its members in the order of the portal."""
    filters = [_filter(one) for one in fields.get("filters", ())]
    if "targeting" in fields:
        filters.append({"name": TARGETING, "parameters": {"Audience": _audience(fields["targeting"])}})
    conditions: dict[str, Any] = {"client_filters": filters}
    if "requirement_type" in fields:
        conditions["requirement_type"] = str(fields["requirement_type"])
    flag = {
        "id": name,
        "description": fields.get("description", ""),
        "enabled": fields["enabled"],
        "conditions": conditions,
        **{member: fields[member] for member in _AS_WRITTEN if member in fields},
    }
    return "{" + ",".join(f"{json.dumps(member)}:{write_json(_plain(value))}" for member, value in flag.items()) + "}"


def flag_fields(name: str, text: bytes) -> dict[str, Any] | None:
    """The fields of `{feature: …}` that give this flag again; None when none do."""
    try:
        flag = json.loads(canonical_flag_text(text) or b"")
        fields = _fields(flag)
        is_same = canonical_flag_text(flag_text(name, fields).encode()) == canonical_flag_text(text)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return fields if is_same else None


def _fields(flag: Mapping[str, Any]) -> dict[str, Any]:
    conditions = flag["conditions"]
    fields: dict[str, Any] = {"enabled": flag["enabled"]}
    if flag["description"]:
        fields["description"] = flag["description"]
    fields |= {member: flag[member] for member in _AS_WRITTEN if member in flag}
    if "requirement_type" in conditions:
        fields["requirement_type"] = conditions["requirement_type"]
    if conditions["client_filters"]:
        fields["filters"] = conditions["client_filters"]
    return fields


def _plain(value: Any) -> Any:
    """JSON of decoded fields: whole percentages without a fraction, words of a fixed set as text."""
    if isinstance(value, Mapping):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_plain, value))
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return str(value) if isinstance(value, str) else value


def _filter(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": one["name"], **({"parameters": one["parameters"]} if "parameters" in one else {})}


def _audience(targeting: Mapping[str, Any]) -> dict[str, Any]:
    audience: dict[str, Any] = {
        "Users": list(targeting["users"]),
        "Groups": [{"Name": one["name"], "RolloutPercentage": one["rollout"]} for one in targeting["groups"]],
        "DefaultRolloutPercentage": targeting["default_rollout"],
    }
    excluded = targeting["exclude"]
    if excluded is not None:
        audience["Exclusion"] = {"Users": list(excluded["users"]), "Groups": list(excluded["groups"])}
    return audience
