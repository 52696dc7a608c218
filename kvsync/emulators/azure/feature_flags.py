"""Feature flags as resources of their own (`/ff`, `/ff-revisions`), which have nothing to do with those in key-values.

Source: "Enhanced feature flags" in the REST reference of App Configuration, api-version 2026-05-01-preview, and what the
`FeatureFlagClient` of azure-appconfiguration 1.10.0b1 sends and reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from kvsync.emulators.azure.body import Form, checked_size, read_json, read_tags
from kvsync.emulators.azure.model import KeyValue
from kvsync.emulators.azure.problems import invalid
from kvsync.emulators.azure.query import Arguments
from kvsync.emulators.quantities import iso

_MEMBERS: Final = ("enabled", "description", "conditions", "variants", "allocation", "telemetry")
"""What a client writes, apart from the tags."""

_FIELDS: Final = ("etag", "name", "label", *_MEMBERS, "last_modified", "tags")


def _read(arguments: Arguments, name: str) -> KeyValue:
    """What a PUT asks for. Raises Refused for what is not a feature flag."""
    document = read_json(arguments.request)
    members = {member: document[member] for member in _MEMBERS if document.get(member) is not None}
    _check(members)
    text = json.dumps(members, ensure_ascii=False, sort_keys=True)
    tags = read_tags(document.get("tags"))
    return checked_size(KeyValue(name, arguments.label, text, None, tags, False, "", 0.0))


def _check(flag: Mapping[str, Any]) -> None:
    """The service validates what it stores; how strictly is not known beyond the types of the reference."""
    if not isinstance(flag.get("enabled"), bool):
        raise invalid("enabled")
    if not isinstance(flag.get("description", ""), str):
        raise invalid("description")
    conditions = _object(flag, "conditions")
    if conditions.get("requirement_type") not in (None, "Any", "All"):
        raise invalid("conditions.requirement_type")
    _named(conditions.get("filters"), "conditions.filters")
    _named(flag.get("variants"), "variants")
    _object(flag, "allocation")
    if not isinstance(_object(flag, "telemetry").get("enabled", False), bool):
        raise invalid("telemetry.enabled")


def _object(flag: Mapping[str, Any], member: str) -> dict[str, Any]:
    found = flag.get(member, {})
    if not isinstance(found, dict):
        raise invalid(member)
    return found


def _named(items: Any, place: str) -> None:
    """Raise Refused unless these are objects with a name each."""
    if not isinstance(items or [], list):
        raise invalid(place)
    for number, item in enumerate(items or []):
        if not isinstance(item, dict) or not isinstance(item.get("name"), str) or not item["name"]:
            raise invalid(f"{place}[{number}].name")


def _show(found: KeyValue, arguments: Arguments) -> dict[str, Any]:
    """A flag with the selected fields; without those that it does not have."""
    document = {
        "etag": found.etag,
        "name": found.key,
        "label": found.label,
        **json.loads(found.value or "{}"),
        "last_modified": iso(found.modified),
        "tags": dict(found.tags),
    }
    return {field: document[field] for field in arguments.selected(_FIELDS) if document.get(field) is not None}


FLAGS: Final = Form("name", "ff", "ffset", _read, _show)
"""Feature flags, whose members are kept in the value of a key-value."""
