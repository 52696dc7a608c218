"""Feature flags as resources of their own (`feature_flags: resources`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kvsync.http.model import Request, Response
from kvsync.model.feature_flags import flag_text
from kvsync.stores.azure_appconfig.api import unsupported
from kvsync.stores.azure_appconfig.flag_resources import key_value_of, normal_flag, resource_of
from kvsync.stores.azure_appconfig.resources import FLAGS as FLAG_RESOURCE
from tests.stores.azure_repo import Repo
from tests.stores.azure_service import Service
from tests.stores.emulated import as_json, ask, changes
from tests.stores.test_azure_flags import FLAGS

VERSION = "api-version=2026-05-01-preview"
AUDIENCE = '{"DefaultRolloutPercentage":20,"Users":["ann"]}'
RESOURCE: dict[str, Any] = {
    "enabled": True,
    "description": "Search",
    "conditions": {
        "requirement_type": "All",
        "filters": [{"name": "Microsoft.Targeting", "parameters": {"Audience": AUDIENCE, "Ring": "5"}}],
    },
    "variants": [
        {"name": "On", "value": "true", "content_type": "application/json", "status_override": "Enabled"},
        {"name": "Off", "value": "plain"},
    ],
    "allocation": {"default_when_enabled": "On", "percentile": [{"variant": "On", "from": 0, "to": 80}], "seed": "s"},
    "telemetry": {"enabled": True, "metadata": {"Tags.Environment": "production"}},
}


@pytest.fixture
def repo(service: Service, tmp_path: Path) -> Repo:
    found = Repo(tmp_path, service)
    found.configure("    feature_flags: resources\n")
    return found


def resources(service: Service, method: str = "GET", name: str = "", body: Any = None) -> Any:
    """What the API has under `/ff`, as a program that knows nothing of kvsync asks for it."""
    headers = {"Authorization": f"Bearer {service.env['AZURE_APPCONFIG_TOKEN']}", "Content-Type": "application/json"}
    return json.loads(ask(method, f"{service.url}/ff{name}?{VERSION}", as_json(body), headers)[1])


def test_a_flag_survives_both_conversions() -> None:
    """JSON values of variants and parameters are texts in a resource, and are JSON again in the flag."""
    item = {"name": "search", "label": None, "etag": "1", "tags": {}, "last_modified": "…", **RESOURCE}
    found = key_value_of(item)
    flag = json.loads(found["value"])
    assert flag["conditions"]["client_filters"][0]["parameters"] == {"Audience": json.loads(AUDIENCE), "Ring": "5"}
    assert [one.get("configuration_value") for one in flag["variants"]] == [True, "plain"]
    assert resource_of(found["value"].encode()) == RESOURCE
    text = flag_text("x", {"enabled": False, "requirement_type": "Any", "variants": []}).encode()
    assert resource_of(normal_flag(text)) == {"enabled": False}
    with pytest.raises(ValueError, match="cannot have 'later'; remove it"):
        resource_of(str(key_value_of({**item, "later": 1})["value"]).encode())


async def test_flags_are_resources_and_show_no_drift(repo: Repo, service: Service) -> None:
    """They are created, drift is seen and adopted, and a flag that the files do not have any more is deleted."""
    await repo.settle(FLAGS)
    assert changes(await repo.plan_all()) == []
    assert service.values() == {}
    found = {one["name"]: one for one in resources(service)["items"]}
    assert found.keys() == FLAGS.keys()
    assert found["look"]["variants"][0]["value"] == '{"size":9}'
    etag_free = {name: member for name, member in found["on"].items() if name not in ("name", "etag", "last_modified")}
    resources(service, "PUT", "/on", etag_free | {"enabled": False})
    assert [change[1] for change in changes(await repo.plan_all())] == ["drifted"]
    done = repo.command("adopt", "--write")
    assert "+  on: {feature: {enabled: false, description: New checkout}}\n" in done.stdout, done.stderr
    assert changes(await repo.plan_all()) == []
    await repo.settle({name: entry for name, entry in FLAGS.items() if name not in ("off", "on")})
    assert {one["name"] for one in resources(service)["items"]} == FLAGS.keys() - {"off", "on"}


async def test_dump_brings_resources_as_features(repo: Repo, service: Service) -> None:
    """A flag that another program made is written as `feature:`, and the plan after it only adopts."""
    resources(service, "PUT", "/search", RESOURCE)
    done = repo.command("dump", "settings/web", "--to", str(repo.root / "state"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "  search:\n    feature: {" in (repo.root / "state" / "web.yaml").read_text()
    assert {change[0] for change in changes(await repo.plan_all())} == {"adopt"}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("light", "the store has feature flags only; write the entry as feature:"),
        (
            "{feature: {enabled: true, display_name: Search}}",
            "a feature flag resource cannot have 'display_name'; remove it",
        ),
        ("{feature: {enabled: true}, description: x}", "description"),
    ],
)
async def test_what_a_resource_cannot_have_is_found_offline(repo: Repo, entry: str, expected: str) -> None:
    """Before anything is sent, with the place."""
    repo.want({"a": entry})
    done = repo.command("validate")
    assert done.returncode == 78
    assert expected in done.stderr


async def test_flags_and_key_values_of_one_service_are_two_places(repo: Repo, service: Service) -> None:
    """Both can be managed, with the same names of keys."""
    file = repo.root / "kvsync.yaml"
    file.write_text(f"{file.read_text()}  plain:\n{repo.options()}    key_format: '{{key}}'\n")
    (repo.root / "state" / "plain.yaml").write_text("store: plain\nnamespace: web\nkeys: {on: text}\n")
    await repo.settle({"on": FLAGS["on"]})
    assert service.values() == {("on", None): "text"}
    assert [one["name"] for one in resources(service)["items"]] == ["on"]


def test_an_endpoint_without_the_resource_says_what_to_change() -> None:
    """Reads and writes are refused for their version, and the option that asks for it is named."""
    problem = {"type": "https://azconfig.io/errors/invalid-argument", "name": "api-version", "status": 400}
    answer = Response(400, {"content-type": "application/problem+json"}, json.dumps(problem).encode())
    error = unsupported(FLAG_RESOURCE, Request("GET", "/ff", "listing *"), answer)
    assert str(error).endswith("; remove feature_flags: resources from this store")
    assert unsupported(FLAG_RESOURCE, Request("GET", "/ff", "listing *"), Response(400, {}, b"{}")) is None
