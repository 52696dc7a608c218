"""`snapshot_before_apply`: what App Configuration holds is kept before a run writes to it, or nothing is written."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.appconfiguration import ConfigurationSettingsFilter

from tests.stores.azure_repo import Repo
from tests.stores.azure_service import Service
from tests.stores.emulated import SharedClock, outcomes

ROOT = Path(__file__).parents[2]
OPTIONS = "    snapshot_before_apply: true\n    snapshot_retention: 2h\n"
SNAPSHOT = "kvsync-team-a-web-"


@pytest.fixture
def repo(service: Service, tmp_path: Path) -> Repo:
    return Repo(tmp_path, service, extra=OPTIONS)


@pytest.fixture
def slow(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Repo]:
    """A repository for a service with these switches."""
    with Service.serve(switches=request.param) as service:
        yield Repo(tmp_path, service, extra=OPTIONS)


def snapshots(service: Service, **wanted: Any) -> dict[str, dict[tuple[str, str | None], str]]:
    """What each snapshot holds, by its name."""
    found = service.sdk.list_snapshots(**wanted)
    names = [one.name for one in found if one.name is not None]
    return {
        name: {(one.key, one.label): one.value for one in service.sdk.list_configuration_settings(snapshot_name=name)}
        for name in names
    }


def take(service: Service, name: str, key: str, tags: dict[str, str] | None = None) -> None:
    """Take a snapshot as another program would."""
    filters = [ConfigurationSettingsFilter(key=key)]
    service.sdk.begin_create_snapshot(name, filters, tags=tags, polling_interval=0.01).result()


def writes(service: Service) -> list[str]:
    """The requests that write: their methods and the first parts of their paths."""
    log = service.control("GET", "log")
    return [f"{one['method']} /{one['target'].split('/')[1]}" for one in log if one["method"] != "GET"]


async def test_a_snapshot_is_taken_before_the_first_write_of_a_run(repo: Repo, service: Service) -> None:
    """It holds all of the namespace and nothing else, is archived with the retention that is set, and is named in the plan and
    in the history. Where nothing changes, none is taken."""
    await repo.settle({"a": "{value: '1', labels: {prod: '2'}}"})
    service.set("web:theirs", "3", label="dev")
    service.set("web2:a", "4")
    before = set(snapshots(service))
    repo.want({"a": "{value: changed}", "b": "new"})
    plan = await repo.plan()
    assert plan.notes == ("a snapshot is taken first (snapshot_before_apply)",)
    assert plan.cost.requests == len(plan.changes) + 4
    service.clear_requests()
    await repo.apply()
    assert writes(service)[:2] == ["PUT /snapshots", "PATCH /snapshots"]
    taken = snapshots(service)
    (name,) = set(taken) - before
    run = name.removeprefix(SNAPSHOT)
    assert taken[name] == {("web:a", None): "1", ("web:a", "prod"): "2", ("web:theirs", "dev"): "3"}
    found = service.sdk.get_snapshot(name)
    assert (found.status, found.retention_period, found.tags) == (
        "archived",
        7200,
        {"kvsync": "team-a", "kvsync.ns": "web", "kvsync.run": run},
    )
    assert f"restore point of settings/web: {name}\n" in repo.command("history", run).stdout
    assert f"restore point of settings/web: {name}\n" in repo.command("show", run).stdout
    (listed, _) = json.loads(repo.command("history", "-o", "json").stdout)["runs"]
    assert listed["restore_points"] == [{"store": "settings", "namespace": "web", "name": name}]
    await repo.apply()
    assert len(snapshots(service)) == len(taken)


async def test_a_snapshot_is_restored_as_documented(repo: Repo, service: Service) -> None:
    """The script in the docs gives all entries of the snapshot back, with their labels and marks."""
    await repo.settle({"a": "{value: '1', labels: {prod: '2'}}"})
    service.set("web:theirs", "3", label="dev", tags={"env": "dev"})
    before = service.values()
    repo.want({})
    await repo.converge(approved=True)
    service.set("web:theirs", "4", label="dev")
    (name,) = (one for one, held in snapshots(service).items() if ("web:theirs", "dev") in held)
    page = (ROOT / "docs/azure-appconfig.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    script = script.replace('"SNAPSHOT"', repr(name))
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script], env=repo.environ(), check=True, timeout=60)
    assert service.values() == before
    restored = service.get("web:theirs", "dev")
    assert restored is not None
    assert restored.tags == {"env": "dev"}
    repo.want({"a": "{value: '1', labels: {prod: '2'}}"})
    assert (await repo.plan()).changes == ()


async def test_an_undo_takes_a_snapshot_too(repo: Repo, service: Service) -> None:
    """The preview of an undo says so, and the undo takes it."""
    await repo.settle({"a": "1"})
    (first,) = snapshots(service)
    assert "a snapshot is taken first" in repo.command("undo", "--dry-run", first.removeprefix(SNAPSHOT)).stdout
    assert set(snapshots(service)) == {first}
    assert repo.command("undo", "--yes", first.removeprefix(SNAPSHOT)).returncode == 0
    assert service.values() == {}
    (second,) = set(snapshots(service)) - {first}
    assert snapshots(service)[second] == {("web:a", None): "1"}


@pytest.mark.parametrize("slow", [{"provisioning": "10s"}], indirect=True)
async def test_the_snapshot_is_awaited(slow: Repo) -> None:
    """Nothing is written while the service still creates it."""
    slow.clock = SharedClock(slow.service)
    slow.want({"a": "1"})
    assert outcomes(await slow.apply()) == {"a": "applied"}
    assert list(snapshots(slow.service, status=["archived"]).values()) == [{}]


def fill_snapshots(service: Service) -> None:
    """Use up the bytes that the free tier has for snapshots."""
    for number in range(50):
        service.set(f"web:big-{number}", "x" * 10_000)
    for number in range(19):
        take(service, f"big-{number}", "web:*")


@pytest.mark.parametrize(
    ("slow", "says"),
    [
        ({"provisioning": "1h"}, "was not complete after 120 s"),
        ({"provisioning": "failed"}, "(failed: The snapshot could not be created.)"),
        ({"tier": "free"}, "the store is full"),
    ],
    indirect=["slow"],
)
async def test_without_a_snapshot_nothing_is_written(slow: Repo, says: str) -> None:
    """If it takes too long, fails, or has no room, all changes wait, and the error says why."""
    if "full" in says:
        fill_snapshots(slow.service)
    before = slow.service.values()
    slow.want({"a": "1", "b": "2"})
    report = await slow.apply()
    assert outcomes(report) == {"a": "not-attempted", "b": "not-attempted"}
    (target,) = report.targets
    assert target.error is not None
    assert "nothing was written, because no restore point could be made first" in target.error
    assert says in target.error
    assert slow.service.values() == before


async def test_snapshots_of_killed_runs_are_archived(repo: Repo, service: Service) -> None:
    """What a killed run left would be kept forever: the next run archives it, and no snapshot of others."""
    take(service, f"{SNAPSHOT}killed", "web:*", {"kvsync": "team-a"})
    take(service, f"{SNAPSHOT}theirs", "web:*")
    await repo.settle({"a": "1"})
    assert set(snapshots(service, status=["ready"])) == {f"{SNAPSHOT}theirs"}


async def test_a_lost_answer_takes_no_second_snapshot(repo: Repo, service: Service) -> None:
    """If the answer to the first request is lost, kvsync continues with the same snapshot."""
    repo.want({"a": "1"})
    service.faults("drop-after-write:1", times=2, methods=["PUT", "PATCH"])
    assert outcomes(await repo.apply()) == {"a": "applied"}
    assert len(snapshots(service, status=["archived"])) == len(snapshots(service)) == 1


async def test_namespaces_with_unusual_names_have_snapshots_of_their_own(repo: Repo, service: Service) -> None:
    """The names of two namespaces that differ in characters which a snapshot's name does not have stay apart."""
    for namespace in ("a/b", "a b"):
        (repo.root / "state" / f"{len(namespace)}{ord(namespace[1])}.yaml").write_text(
            f"store: settings\nnamespace: {namespace!r}\nkeys: {{x: '1'}}\n"
        )
    await repo.apply()
    assert len(snapshots(service)) == 2
