"""Feature flags and Key Vault references are checked against their own rules, offline."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kvsync.model.feature_flags import FLAG_TYPE
from kvsync.stores.azure_appconfig.well_known import FLAG_PREFIX, REFERENCE_TYPE, well_known_problems

FLAG = {
    "id": "beta",
    "enabled": True,
    "conditions": {"client_filters": [{"name": "Microsoft.Targeting", "parameters": {}}]},
}
VAULT = "https://shop.vault.azure.net/secrets/password"


def flag(value: Any, key: str = f"{FLAG_PREFIX}beta") -> list[str]:
    return list(well_known_problems(key, FLAG_TYPE, json.dumps(value).encode()))


def test_what_the_portal_writes_is_valid() -> None:
    """Flags as the portal and the SDKs write them, nulls and unknown members included, and references."""
    assert flag(FLAG) == flag(FLAG | {"description": None, "conditions": None, "later": {"a": 1}}) == []
    assert (
        flag({"id": "beta", "variants": [{"name": "a", "configuration_value": [1]}], "telemetry": {"enabled": False}})
        == []
    )
    for uri in (VAULT, f"{VAULT}/", f"{VAULT}/0123456789abcdef0123456789abcdef"):
        assert list(well_known_problems("a", REFERENCE_TYPE, json.dumps({"uri": uri}).encode())) == []
    assert list(well_known_problems("a", "application/json", b"{")) == []
    assert flag({}, "elsewhere") == []


@pytest.mark.parametrize(
    ("value", "key", "expected"),
    [
        (
            FLAG | {"enabled": "hunter2"},
            f"{FLAG_PREFIX}beta",
            'not a feature flag: enabled: the value is not of type "boolean"',
        ),
        ({"enabled": True}, f"{FLAG_PREFIX}beta", 'not a feature flag: "id" is a required property'),
        (FLAG | {"conditions": {"client_filters": [{}]}}, f"{FLAG_PREFIX}beta", "conditions/client_filters/0"),
        (FLAG, f"{FLAG_PREFIX}other", "the id of a feature flag must be the name in its key"),
        (FLAG | {"id": "a:b"}, f"{FLAG_PREFIX}a:b", "must not be empty or contain % or :"),
        (FLAG | {"id": ""}, FLAG_PREFIX, "must not be empty or contain % or :"),
    ],
)
def test_wrong_flags(value: Any, key: str, expected: str) -> None:
    """What Azure's clients would refuse or ignore is said before it is written, without its value."""
    found = " ".join(flag(value, key))
    assert expected in found
    assert "hunter2" not in found


@pytest.mark.parametrize("value", ['{"uri": "http://a/secrets/b"}', '{"uri": "hunter2"}', "hunter2"])
def test_wrong_references(value: str) -> None:
    """A reference leads to a secret in a vault, by https."""
    [found] = well_known_problems("a", REFERENCE_TYPE, value.encode())
    assert found.startswith("not a Key Vault reference: ")
    assert "hunter2" not in found
