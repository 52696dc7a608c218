"""Feature flags in state files, read by the vendor's own libraries."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from azure.appconfiguration import FeatureFlagConfigurationSetting
from featuremanagement import FeatureManager, TargetingContext

from kvsync.model.feature_flags import flag_text
from tests.emulators.npm import installed
from tests.stores.azure_repo import Repo
from tests.stores.azure_service import Service
from tests.stores.emulated import changes, outcomes

PREFIX = ".appconfig.featureflag/"
FORMAT = f'    key_format: "{PREFIX}{{key}}"\n'
FLAGS = {
    "on": "{feature: {enabled: true, description: New checkout}}",
    "off": "{feature: {enabled: false, filters: [{name: Microsoft.AlwaysOn}]}}",
    "staff": "{feature: {enabled: true, targeting: {users: [ann], groups: [{name: staff, rollout: 100}],"
    " exclude: {users: [bob], groups: []}}}}",
    "window": "{feature: {enabled: true, requirement_type: All, filters: [{name: Microsoft.TimeWindow, parameters: "
    '{Start: "Thu, 01 Jan 2015 00:00:00 GMT", End: "Fri, 01 Jan 2016 00:00:00 GMT"}}]}}',
    "look": "{feature: {enabled: true, variants: [{name: big, configuration_value: {size: 9}}, {name: small}],"
    " allocation: {default_when_enabled: small, user: [{variant: big, users: [ann]}]}, telemetry: {enabled: false}}}",
}


FLAG_WITH = "{{feature: {{enabled: true, variants: {}, allocation: {}}}}}"


@pytest.fixture
def repo(service: Service, tmp_path: Path) -> Repo:
    found = Repo(tmp_path, service)
    found.configure(FORMAT)
    return found


def written(service: Service) -> list[dict[str, Any]]:
    """The flags in the store, as an application loads them."""
    return [json.loads(service.must_get(f"{PREFIX}{name}").value) for name in FLAGS]


async def test_flags_are_written_as_the_sdk_writes_them_and_show_no_drift(repo: Repo, service: Service) -> None:
    """The vendor's SDK takes each for a feature flag, and a second pass finds nothing to do."""
    await repo.settle(FLAGS)
    assert changes(await repo.plan_all()) == []
    found = service.sdk.get_configuration_setting(f"{PREFIX}on")
    assert isinstance(found, FeatureFlagConfigurationSetting)
    assert (found.feature_id, found.enabled, found.description) == ("on", True, "New checkout")
    found.enabled = False
    service.sdk.set_configuration_setting(found)
    assert [change[1] for change in changes(await repo.plan_all())] == ["drifted"]
    done = repo.command("adopt", "--write")
    assert "+  on: {feature: {enabled: false, description: New checkout}}\n" in done.stdout, done.stderr
    assert changes(await repo.plan_all()) == []


async def test_the_python_library_evaluates_what_kvsync_wrote(repo: Repo, service: Service) -> None:
    """Switches, filters, targeting and variants mean to applications what the file says."""
    await repo.settle(FLAGS)
    manager: Any = FeatureManager({"feature_management": {"feature_flags": written(service)}})
    ann, bob = TargetingContext(user_id="ann", groups=[]), TargetingContext(user_id="bob", groups=["staff"])
    eve = TargetingContext(user_id="eve", groups=["staff"])
    assert (manager.is_enabled("on"), manager.is_enabled("off"), manager.is_enabled("window")) == (True, False, False)
    assert [manager.is_enabled("staff", user) for user in (ann, bob, eve)] == [True, False, True]
    big, small = manager.get_variant("look", ann), manager.get_variant("look", bob)
    assert big is not None
    assert small is not None
    assert (big.name, big.configuration, small.name) == ("big", {"size": 9}, "small")


SCRIPT = """
import { ConfigurationObjectFeatureFlagProvider, FeatureManager } from "@microsoft/feature-management";
import { readFileSync } from "node:fs";
const flags = JSON.parse(readFileSync("flags.json", "utf8"));
const manager = new FeatureManager(
  new ConfigurationObjectFeatureFlagProvider({ feature_management: { feature_flags: flags } }));
const staff = { userId: "eve", groups: ["staff"] };
console.log(JSON.stringify([
  await manager.isEnabled("on"), await manager.isEnabled("off"), await manager.isEnabled("window"),
  await manager.isEnabled("staff", staff), await manager.isEnabled("staff", { userId: "bob", groups: ["staff"] }),
  (await manager.getVariant("look", { userId: "ann" })).name,
]));
"""


def test_members_are_in_the_order_of_the_portal() -> None:
    """A flag that a person compares with one that the portal wrote looks the same."""
    text = flag_text("on", {"enabled": True, "requirement_type": "All", "telemetry": {"enabled": False}})
    assert text == (
        '{"id":"on","description":"","enabled":true,"conditions":{"client_filters":[],"requirement_type":"All"},'
        '"telemetry":{"enabled":false}}'
    )


async def test_the_js_library_evaluates_what_kvsync_wrote(repo: Repo, service: Service, tmp_path: Path) -> None:
    """The library for JavaScript reads the same from the flags as that for Python."""
    packages = installed("package.json", "the JS library for feature flags")
    await repo.settle(FLAGS)
    folder = tmp_path / "js"
    folder.mkdir()
    (folder / "node_modules").symlink_to(packages)
    (folder / "flags.json").write_text(json.dumps(written(service)))
    (folder / "flags.mjs").write_text(SCRIPT)
    node = shutil.which("node") or ""
    process = await asyncio.create_subprocess_exec(node, "flags.mjs", cwd=folder, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert json.loads(output) == [True, False, False, True, False, "big"]


async def test_dump_writes_flags_as_features(repo: Repo, service: Service) -> None:
    """What the store holds comes back as `feature:`, and a flag with more than that as it is."""
    await repo.settle(FLAGS)
    more = json.dumps({"id": "more", "enabled": True, "conditions": None, "later": 1})
    flag_type = "application/vnd.microsoft.appconfig.ff+json;charset=utf-8"
    service.set(f"{PREFIX}more", more, content_type=flag_type)
    filters: list[dict[str, Any]] = [{"name": "Microsoft.Percentage", "parameters": {"Value": 50}}]
    service.sdk.set_configuration_setting(FeatureFlagConfigurationSetting("sdk", enabled=True, filters=filters))
    (repo.root / "state" / "web.yaml").unlink()
    done = repo.command("dump", "settings/web", "--to", str(repo.root / "state"))
    assert done.returncode == 0, done.stdout + done.stderr
    text = (repo.root / "state" / "web.yaml").read_text()
    assert text.count("feature:") == len(FLAGS) + 1
    assert "  sdk: {feature: " in text
    assert "description: " in text or '"description": ' in text
    assert {change[0] for change in changes(await repo.plan_all())} <= {"adopt"}


@pytest.mark.parametrize(
    ("key", "entry", "expected"),
    [
        ("a", "{feature: {enabled: maybe}}", "keys.a.feature.enabled: expected true or false"),
        ("a", "{feature: {}}", 'keys.a.feature: missing field "enabled"'),
        ("a", "{feature: {enabled: true, filter: []}}", 'keys.a.feature: unknown field "filter"'),
        ("a", "{feature: {enabled: true, targeting: {default_rollout: 101}}}", "a number from 0 to 100"),
        ("a", FLAG_WITH.format("[{name: big}, {name: big}]", "{}"), 'variants: two variants have the name "big"'),
        (
            "a",
            FLAG_WITH.format("[{name: big}]", "{user: [{variant: bog, users: [x]}]}"),
            'there is no variant "bog" (did',
        ),
        ("a", FLAG_WITH.format("[{name: big}]", "{percentile: [{variant: big, from: 9, to: 3}]}"), "from must not be"),
        ("'a:b'", "{feature: {enabled: true}}", "the name of a feature flag must not be empty or contain % or :"),
    ],
)
async def test_wrong_flags_are_found_offline(repo: Repo, key: str, entry: str, expected: str) -> None:
    """Names and fields of flags are checked before anything is sent."""
    repo.want(f"  {key}: {entry}\n")
    done = repo.command("validate")
    assert done.returncode == 78
    assert expected in done.stderr


async def test_flags_need_a_store_that_has_them(repo: Repo) -> None:
    """Under another key, or in another store, applications would not find the flag."""
    repo.configure()
    repo.want({"a": "{feature: {enabled: true}}"})
    assert f'set key_format: "{PREFIX}{{key}}"' in repo.command("validate").stderr
    (repo.root / "kvsync.yaml").write_text(
        "version: 1\nowner: us\npolicy: {prune: owned}\nstores: {settings: {type: sqlite, path: a.db}}\n"
    )
    assert "sqlite has no feature flags" in repo.command("validate").stderr


async def test_a_flag_has_its_name_under_every_label(repo: Repo, service: Service) -> None:
    """Labels of a flag are entries of their own with the same name."""
    repo.want({"a": "{feature: {enabled: true}, labels: {beta: {feature: {enabled: false}}}}"})
    assert set(outcomes(await repo.apply()).values()) == {"applied"}
    flags = [json.loads(service.must_get(f"{PREFIX}a", label).value) for label in (None, "beta")]
    assert [(flag["id"], flag["enabled"]) for flag in flags] == [("a", True), ("a", False)]
