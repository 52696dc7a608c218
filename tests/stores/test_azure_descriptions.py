"""Descriptions of entries in App Configuration: written where the files say so, kept where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from azure.appconfiguration import ConfigurationSetting

from kvsync.rendering.style import DisplayLimits
from kvsync.rendering.values import detail_of
from tests.stores.azure_repo import Repo
from tests.stores.azure_service import Service
from tests.stores.emulated import changes, outcomes


@pytest.fixture
def repo(service: Service, tmp_path: Path) -> Repo:
    return Repo(tmp_path, service)


def describe(service: Service, key: str, text: str | None) -> None:
    """Change the description by hand, and keep everything else."""
    found: ConfigurationSetting = service.must_get(key)
    found.description = text
    service.sdk.set_configuration_setting(found)


async def test_a_description_is_part_of_the_content(repo: Repo, service: Service) -> None:
    """It is written, shown in the plan, restored after drift, and removed when the file says that there is none."""
    await repo.settle({"a": "{value: x, description: 'who may log in'}"})
    assert service.must_get("web:a").description == "who may log in"
    describe(service, "web:a", "something else")
    plan = await repo.plan()
    assert [(one.cause, one.reasons) for one in plan.changes] == [("drifted", ("description",))]
    assert detail_of(plan.changes[0], "team-a", DisplayLimits()).notes == (
        'description: "something else" -> "who may log in"',
    )
    await repo.apply()
    assert service.must_get("web:a").description == "who may log in"
    await repo.settle({"a": "{value: x, description: ''}"})
    assert not service.must_get("web:a").description


@pytest.mark.parametrize("value", ["x", "{value: x, sensitive: true}", "{value: x, ttl: 2h}"])
async def test_a_description_that_no_file_mentions_is_kept(repo: Repo, service: Service, value: str) -> None:
    """What someone wrote in the portal is not drift, and survives every write."""
    await repo.settle({"a": value})
    describe(service, "web:a", "set by hand")
    assert changes(await repo.plan_all()) == []
    repo.want({"a": value.replace("x", "y")})
    assert [change[1] for change in changes(await repo.plan_all())] == ["changed"]
    assert outcomes(await repo.apply()) == {"a": "applied"}
    repo.want({"a": value.replace("x", "''")})
    assert outcomes(await repo.apply()) == {"a": "applied"}
    assert (service.must_get("web:a").value, service.must_get("web:a").description) == ("", "set by hand")
    assert changes(await repo.plan_all()) == []


async def test_a_description_that_a_file_begins_to_mention_is_not_drift(repo: Repo, service: Service) -> None:
    """It is a change of the files, which `policy.drift` does not decide about, whatever someone wrote there. From then on it
    does."""
    repo.configure("    policy: {drift: report}\n")
    await repo.settle({"a": "x"})
    describe(service, "web:a", "set by hand")
    repo.want({"a": "{value: x, description: ours}"})
    assert [(one.cause, one.reasons) for one in (await repo.plan()).changes] == [("changed", ("description",))]
    assert outcomes(await repo.apply()) == {"a": "applied"}
    describe(service, "web:a", "set by hand")
    plan = await repo.plan()
    assert ([one.cause for one in plan.reported], plan.changes) == (["drifted"], ())


async def test_an_entry_with_a_description_is_adopted_with_it(repo: Repo, service: Service) -> None:
    """Equal but for a description that no file mentions is equal."""
    service.set("web:a", "x", description="set by hand")
    repo.want({"a": "x"})
    assert outcomes(await repo.apply()) == {"a": "applied"}
    assert service.must_get("web:a").description == "set by hand"
    assert changes(await repo.plan_all()) == []


async def test_a_description_that_the_file_no_longer_mentions_is_left(repo: Repo, service: Service) -> None:
    """The line goes, the text stays: from then on it belongs to others."""
    await repo.settle({"a": "{value: x, description: ours}"})
    await repo.settle({"a": "x"})
    describe(service, "web:a", "theirs")
    assert changes(await repo.plan_all()) == []
    assert service.must_get("web:a").description == "theirs"


async def test_undo_restores_the_description(repo: Repo, service: Service) -> None:
    """Both one that was there, and that there was none."""
    await repo.settle({"a": "x", "b": "x"})
    describe(service, "web:a", "set by hand")
    repo.want({"a": "{value: x, description: ours}", "b": "{value: x, description: ours}"})
    report = await repo.apply()
    done = repo.command("undo", str(report.run), "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert service.must_get("web:a").description == "set by hand"
    assert not service.must_get("web:b").description


async def test_a_description_moves_with_a_renamed_key(repo: Repo, service: Service) -> None:
    """The new key has the text that was set by hand at the old one."""
    await repo.settle({"a": "x"})
    describe(service, "web:a", "set by hand")
    await repo.settle({"b": "x"}, "moved: [{from: a, to: b}]\n")
    assert (service.get("web:a"), service.must_get("web:b").description) == (None, "set by hand")
    assert changes(await repo.plan_all()) == []


async def test_a_description_moves_to_another_target(repo: Repo, service: Service) -> None:
    """The new key has the text that was set by hand at the old one, as after a move within the target."""
    await repo.settle({"a": "x", "b": "y"})
    describe(service, "web:a", "set by hand")
    repo.want({"b": "y"})
    await repo.settle({"c": "x"}, "moved: [{from: {namespace: web, key: a}, to: c}]\n", "new")
    assert (service.get("web:a"), service.must_get("new:c").description) == (None, "set by hand")
    assert changes(await repo.plan_all()) == []


async def test_descriptions_follow_a_transfer(repo: Repo, service: Service) -> None:
    """Both those that the files mention and those of others, which stay theirs: the next plan is empty."""
    await repo.settle({"a": "x", "b": "{value: y, description: ours}"})
    describe(service, "web:a", "set by hand")
    repo.configure("    key_format: 'v2/{namespace}:{key}'\n")
    done = repo.command("transfer", "--from-key-format", "{namespace}:{key}", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    found = [service.must_get(f"v2/web:{key}").description for key in "ab"]
    assert found == ["set by hand", "ours"]
    assert changes(await repo.plan_all()) == []


async def test_dump_writes_descriptions(repo: Repo, service: Service) -> None:
    """What comes back from the files is what the store holds."""
    service.set("web:a", "x", description="set: by hand\nin two lines")
    done = repo.command("dump", "settings/web", "--to", str(repo.root / "state"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcomes(await repo.apply()) == {"a": "applied"}
    describe(service, "web:a", None)
    assert [change[1] for change in changes(await repo.plan_all())] == ["drifted"]


def test_an_endpoint_without_descriptions_refuses_them(repo: Repo) -> None:
    """With the earlier version of the API, `validate` names the line."""
    repo.configure("    api_version: 2024-09-01\n")
    repo.want({"a": "{value: x, description: ours}"})
    done = repo.command("validate")
    assert done.returncode == 78
    assert "state/web.yaml:4:3" in done.stdout + done.stderr
    assert "does not support description" in done.stdout + done.stderr
