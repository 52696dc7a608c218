"""Whole passes against App Configuration, from YAML to the store and back, through faults, foreign writers and kills."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from pathlib import Path

import pytest
from azure.appconfiguration import ConfigurationSetting, FeatureFlagConfigurationSetting

from kvsync.model.change import OutcomeKind
from tests.cli.runner import run_command
from tests.stores.azure_repo import Repo
from tests.stores.azure_service import Service
from tests.stores.emulated import FastForwardClock, changes, kill_while_writing, outcomes
from tests.stores.traced import documented_path, traced_writes


@pytest.fixture
def repo(service: Service, tmp_path: Path) -> Repo:
    return Repo(tmp_path, service)


ROOT = Path(__file__).parents[2]

KEYS = {
    "greeting": "Hello",
    "limits": "{json: {rps: 10, burst: [1, 2]}}",
    "page": "{value: '<p>hi</p>', content_type: text/html, tags: {team: web}}",
    "theme": "{value: light, labels: {prod: dark, dev: {value: neon}}}",
    "promo": "{value: x, ttl: 2h}",
    "vip": "{value: y, protected: true}",
    "token": "{env: API_TOKEN}",
}


# The promises


async def test_a_second_pass_does_nothing(repo: Repo, service: Service) -> None:
    """Right after a pass, planning again changes nothing and applying writes nothing; the store answers 304 and no more."""
    await repo.settle(KEYS)
    assert changes(await repo.plan_all()) == []
    await repo.plan_all("test")  # which remembers the clean pass
    service.clear_requests()
    assert changes(await repo.plan_all("test")) == []
    assert service.requests() == [("GET", 304)]


async def test_a_create_takes_the_path_of_the_architecture_page(
    repo: Repo, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the workspace to the transport, a create passes exactly the functions that the page lists, in their order."""
    rows = documented_path()
    paths = traced_writes(monkeypatch)
    await repo.settle({"greeting": "Hello"})
    assert paths == [rows[2:]]
    assert len(rows) == 15


async def test_what_is_not_ours_is_left_alone(repo: Repo, service: Service) -> None:
    """Foreign entries, also of our very names, are neither changed nor deleted, whatever we do next to them."""
    service.set("web:greeting", "theirs", tags={"made": "by hand"})
    service.set("web:other", "theirs", label="prod")
    service.set("elsewhere:greeting", "theirs")
    before = {key: service.must_get(key).etag for key in ("web:greeting", "elsewhere:greeting")}
    repo.want(KEYS)
    assert outcomes(await repo.apply())["greeting"] == "refused"
    repo.want({"vip": KEYS["vip"]})
    await repo.apply()
    assert {key: service.must_get(key).etag for key in before} == before
    assert set(service.values()) == {
        ("web:greeting", None),
        ("web:other", "prod"),
        ("elsewhere:greeting", None),
        ("web:vip", None),
    }


async def test_another_owner_is_respected(repo: Repo, service: Service, tmp_path: Path) -> None:
    """Two repositories with owners of their own share a prefix without touching each other's entries."""
    (tmp_path / "other").mkdir()
    other = Repo(tmp_path / "other", service)
    text = (other.root / "kvsync.yaml").read_text()
    (other.root / "kvsync.yaml").write_text(text.replace("team-a", "team-b"))
    await repo.settle({"a": "1", "shared": "ours"})
    other.want({"b": "2", "shared": "theirs"})
    assert outcomes(await other.apply()) == {"b": "applied", "shared": "refused"}
    await repo.settle({"shared": "ours"})
    assert service.values() == {("web:b", None): "2", ("web:shared", None): "ours"}


async def test_no_secret_is_anywhere(repo: Repo, service: Service) -> None:
    """Neither a sensitive value nor the connection string is in any output, log or file, also when things go wrong."""
    repo.want(KEYS)
    said = ""
    for spec, words in (
        ("", ("plan",)),
        ("", ("plan", "-o", "json")),
        ("422:1", ("apply", "--yes")),
        ("", ("apply", "--yes", "-o", "json")),
        ("401:1", ("plan",)),
        ("403:1", ("doctor",)),
    ):
        service.faults(spec)
        done = repo.command("--log-format", "json", "--log-level", "debug", *words)
        said += done.stdout + done.stderr
    service.faults("drop:1")
    said += repr(await repo.plan_all())
    service.faults("")
    files = b"".join(file.read_bytes() for file in (repo.root / ".kvsync").rglob("*") if file.is_file())
    for secret in ("very-secret-token", service.env["AZURE_APPCONFIG_CONNECTION_STRING"].rpartition("Secret=")[2]):
        assert secret not in said
        assert secret.encode() not in files
    assert service.must_get("web:token").value == "very-secret-token"


async def test_a_foreign_writer_between_plan_and_apply(repo: Repo, service: Service) -> None:
    """What someone changed, deleted or created since the plan is never overwritten: it is reported, entry by entry."""
    await repo.settle({"changed": "1", "deleted": "1", "kept": "1"})
    repo.want({"changed": "2", "deleted": "2", "kept": "2", "created": "2"})

    def meanwhile() -> None:
        service.set("web:changed", "theirs")
        service.sdk.delete_configuration_setting("web:deleted")
        service.set("web:created", "theirs")

    found = outcomes(await repo.apply(meanwhile))
    assert found == {"changed": "conflict", "deleted": "conflict", "kept": "applied", "created": "conflict"}
    assert service.values() == {
        ("web:changed", None): "theirs",
        ("web:kept", None): "2",
        ("web:created", None): "theirs",
    }
    seen = await repo.plan_all()
    refused = {str(one.identity) for target in seen.targets for one in target.refused}
    assert refused == {"created"}
    assert changes(seen) == [("update", "conflict", "changed"), ("create", "conflict", "deleted")]


async def test_a_foreign_writer_at_every_write(repo: Repo, service: Service) -> None:
    """When someone writes just before each of our writes, theirs stays, and every outcome says so."""
    await repo.settle({f"key-{number}": "1" for number in range(10)})
    repo.want({f"key-{number}": "2" for number in range(10)})
    service.faults("foreign-write:1")
    found = outcomes(await repo.apply())
    service.faults("")
    assert set(found.values()) == {"conflict"}
    assert {value for value in service.values().values() if value in ("1", "2")} == set()


async def test_drift_is_healed_and_removed_entries_go(repo: Repo, service: Service) -> None:
    """A value that someone changed comes back, a lost entry too, and what the files no longer name is deleted."""
    await repo.settle({"a": "1", "b": "2", "c": "3"})
    drifted = service.must_get("web:a")
    drifted.value = "by hand"
    service.sdk.set_configuration_setting(drifted)
    service.sdk.delete_configuration_setting("web:b")
    repo.want({"a": "1", "b": "2"})
    wanted = {("create", "missing", "b"), ("update", "drifted", "a"), ("delete", "removed", "c")}
    assert set(changes(await repo.plan_all())) == wanted
    await repo.apply()
    assert service.values() == {("web:a", None): "1", ("web:b", None): "2"}


async def test_locked_entries_are_reported(repo: Repo, service: Service) -> None:
    """An entry that is locked is refused with its reason, stays locked, and does not hold up the others."""
    await repo.settle({"a": "1", "b": "1"})
    service.sdk.set_read_only(service.must_get("web:a"))
    repo.want({"a": "2", "b": "2"})
    assert outcomes(await repo.apply()) == {"a": "refused", "b": "applied"}
    service.sdk.set_read_only(service.must_get("web:b"))
    repo.want({"a": "2", "b": "3"})
    assert outcomes(await repo.apply()) == {"a": "refused", "b": "refused"}
    assert service.values() == {("web:a", None): "1", ("web:b", None): "2"}
    assert service.must_get("web:a").read_only


async def test_a_lock_that_comes_late(repo: Repo, service: Service) -> None:
    """An entry that is locked between plan and apply is not written either."""
    await repo.settle({"a": "1"})
    repo.want({"a": "2"})
    found = outcomes(await repo.apply(lambda: _lock(service, "web:a")))
    assert found["a"] in ("refused", "conflict")
    assert service.values() == {("web:a", None): "1"}


def _lock(service: Service, key: str) -> None:
    service.sdk.set_read_only(service.must_get(key))


async def test_lifetimes_are_kept_by_kvsync(repo: Repo, service: Service) -> None:
    """What should live on is renewed in time, what has ended is deleted at its moment and not missed afterwards."""
    end = int(time.time()) + 120
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
    await repo.settle({"promo": "{value: x, ttl: 3m}", "sale": f"{{value: y, expires_at: {moment}}}"})
    before = service.must_get("web:promo").tags["kvsync.until"]
    plan = await repo.plan_all("test")
    assert changes(plan) == []
    assert plan.targets[0].next_moment is not None
    assert plan.targets[0].next_moment <= end + 1
    repo.clock = FastForwardClock(150)
    assert sorted(changes(await repo.plan_all("test"))) == [
        ("delete", "expired", "sale"),
        ("renew", "expiring", "promo"),
    ]
    await repo.apply()
    assert set(service.values()) == {("web:promo", None)}
    assert service.must_get("web:promo").tags["kvsync.until"] > before
    assert changes(await repo.plan_all()) == []


# Faults


STORMS = {
    "throttled": "429:0.3",
    "broken": "500:0.15,503:0.1",
    "dropped": "drop:0.15,drop-after-write:0.15",
    "garbled": "truncate:0.2,cut:0.15",
    "written-then-500": "500-after-write:0.25",
    "stale": "stale-read:2s",
    "all": "429:0.1,500:0.05,drop-after-write:0.1,500-after-write:0.05,stale-read:2s,truncate:0.05,cut:0.05,latency:1ms",
}


@pytest.mark.parametrize("storm", STORMS)
async def test_every_storm_ends_in_the_desired_state(repo: Repo, service: Service, storm: str) -> None:
    """Through any storm of faults, the store comes to hold exactly what the files ask, and foreign entries stay as they are."""
    for number in range(5):
        service.set(f"web:foreign-{number}", "theirs")
    foreign = {key: service.must_get(key[0]).etag for key in service.values()}
    await repo.settle({f"key-{number:03}": "1" for number in range(40)})
    wanted = {f"key-{number:03}": "2" for number in range(20, 110)}
    repo.want(wanted)
    service.faults(STORMS[storm], seed=11)
    await repo.converge(approved=True)
    service.faults("")
    assert changes(await repo.plan_all()) == []
    ours = {key: value for (key, _), value in service.values().items() if "foreign" not in key}
    assert ours == {f"web:{key}": value for key, value in wanted.items()}
    assert {key: service.must_get(key[0]).etag for key in foreign} == foreign


async def test_lost_answers_are_not_failures(repo: Repo, service: Service) -> None:
    """When every answer to a write is lost, each write is found to have been done, and none is done twice."""
    repo.want({f"key-{number}": "1" for number in range(20)})
    service.faults("drop-after-write:1", methods=["PUT"])
    service.clear_requests()
    found = outcomes(await repo.apply())
    assert set(found.values()) == {"applied"}
    assert [method for method, _ in service.requests()].count("PUT") == 20


async def test_an_incomplete_listing_deletes_nothing(repo: Repo, service: Service) -> None:
    """When a page cannot be had, nothing is planned and nothing deleted."""
    await repo.settle({f"key-{number:03}": "1" for number in range(150)})
    repo.want({"key-000": "1"})
    service.faults("500:0.99", seed=5, methods=["GET"])
    plan = await repo.plan_all()
    service.faults("")
    assert plan.targets[0].error
    assert changes(plan) == []
    assert len(service.values()) == 150


async def test_a_refused_credential_stops_the_store(repo: Repo, service: Service) -> None:
    """When the credential is refused in the middle, nothing more is sent, and what was not sent says why."""
    repo.want({f"key-{number:03}": "1" for number in range(100)})
    report = await repo.apply(lambda: service.faults("401:1", methods=["PUT"]))
    service.faults("")
    kinds = list(outcomes(report).values())
    assert kinds.count(OutcomeKind.NOT_ATTEMPTED) >= 100 - 2 * 32
    assert service.values() == {}


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment(repo: Repo, service: Service, seed: int) -> None:
    """After kill -9 at any point of an apply, the next run brings the store to the desired state, foreign entries untouched."""
    service.set("web:foreign", "theirs")
    foreign = service.must_get("web:foreign").etag
    repo.want({f"key-{number:03}": str(seed) for number in range(60)})
    kill_while_writing(repo, random.Random(seed).randrange(5, 50))
    done = repo.command("apply", "--yes")
    assert done.returncode == 0, done.stderr
    assert repo.command("plan", "--exit-code").returncode == 0
    assert service.values() == {("web:foreign", None): "theirs"} | {
        (f"web:key-{number:03}", None): str(seed) for number in range(60)
    }
    assert service.must_get("web:foreign").etag == foreign


# Size


@pytest.mark.system
async def test_thousands_of_entries_with_many_labels(repo: Repo, service: Service) -> None:
    """N entries are written in N requests and looked at in ceil(N/100); one change costs one page and one write."""
    labels = ", ".join(f"label-{number:02}: v{number}" for number in range(49))
    wanted = {f"key-{number:02}": f"{{value: plain, labels: {{{labels}}}}}" for number in range(50)}
    repo.want(wanted)
    service.clear_requests()
    report = await repo.apply()
    assert set(outcomes(report).values()) == {"applied"}
    assert len(outcomes(report)) == 2_500
    stats = service.control("GET", "stats")["methods"]
    assert stats == {"GET": 1, "PUT": 2_500}
    pages = 26  # the last page is full, so that only an empty one behind it tells that nothing follows
    assert changes(await repo.plan_all("test")) == []
    service.clear_requests()
    assert changes(await repo.plan_all("test")) == []
    assert service.requests() == [("GET", 304)] * pages
    repo.want(wanted | {"key-25": "{value: changed, labels: {" + labels + "}}"})
    service.clear_requests()
    assert outcomes(await repo.apply()) == {"key-25": "applied"}
    assert service.requests() == [("GET", 304)] * pages + [("PUT", 200)]
    service.clear_requests()
    assert changes(await repo.plan_all("test")) == []
    assert sorted(service.requests()) == [("GET", 200)] + [("GET", 304)] * (pages - 1)


# Taking over what is there


async def test_a_dump_plans_to_nothing(repo: Repo, service: Service) -> None:
    """State files that are made from what a store holds ask for exactly that."""
    await repo.settle(KEYS)
    service.set(
        "web:flag",
        '{"id": "f", "enabled": true}',
        content_type="application/vnd.microsoft.appconfig.ff+json;charset=utf-8",
    )
    service.set(
        "web:ref", '{"uri":"https://v.invalid/s"}', content_type="application/vnd.microsoft.appconfig.keyvaultref+json"
    )
    service.set("web:lines", "a\n  b\n", label="prod", tags={"a": "1"})
    (repo.root / "state" / "web.yaml").unlink()
    done = repo.command("dump", "settings", "--to", str(repo.root / "state"))
    assert done.returncode == 0, done.stderr
    plan = repo.command("plan", "-o", "json", TOKEN="very-secret-token")
    assert plan.returncode == 0, plan.stderr
    summary = json.loads(plan.stdout)["summary"]
    assert (summary["adopt"], summary["create"], summary["update"], summary["delete"]) == (3, 0, 0, 0)
    for words in (("apply", "--yes"), ("plan", "--exit-code")):
        done = repo.command(*words, TOKEN="very-secret-token")
        assert done.returncode == 0, done.stdout + done.stderr
    assert service.must_get("web:lines", "prod").value == "a\n  b\n"


async def test_what_was_done_can_be_taken_back(repo: Repo, service: Service) -> None:
    """`undo` gives entries their previous values, and deletes what the run made."""
    await repo.settle({"a": "1", "b": "1"})
    repo.want({"a": "2", "c": "2"})
    assert repo.command("apply", "--yes").returncode == 0
    async with repo.open(None) as workspace:
        run = workspace.state.journal.runs(1)[0].id
    done = repo.command("undo", run, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert service.values() == {("web:a", None): "1", ("web:b", None): "1"}


EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "azure"


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_the_example_works(service: Service, tmp_path: Path, environment: str) -> None:
    """The example applies to an empty store, and then there is nothing left to do; the SDK finds its feature flags as flags."""
    shutil.copytree(EXAMPLE, tmp_path / "azure", ignore=shutil.ignore_patterns(".kvsync"))
    for words in (("validate",), ("apply", "--yes"), ("plan", "--exit-code")):
        run_command(["--env", environment, *words], tmp_path / "azure", os.environ | service.env, code=0)
    flag = service.must_get(".appconfig.featureflag/reviews", "beta")
    assert isinstance(flag, FeatureFlagConfigurationSetting)
    assert not flag.enabled
    assert service.must_get("shop:page-size").value == ("24" if environment == "dev" else "48")


def test_options_that_cannot_work_are_reported_with_their_place(repo: Repo) -> None:
    """Stores whose options do not go together are named all at once, each with file and line, and nothing is done."""
    more = "  one: {type: azure-appconfig}\n  two: {type: azure-appconfig, connection_string: {env: X}, client_id: y}\n"
    with (repo.root / "kvsync.yaml").open("a") as file:
        file.write(more)
    done = repo.command("plan")
    assert done.returncode == 78
    assert "kvsync.yaml:9:8: stores.one: set connection_string, or endpoint" in done.stderr
    assert "kvsync.yaml:10:8: stores.two: connection_string and client_id cannot be combined" in done.stderr


async def test_a_null_stays_null(repo: Repo, service: Service) -> None:
    """An entry without a value, or with a tag without one, is adopted and changed without getting one; any other becomes empty
    as the files ask."""
    service.sdk.set_configuration_setting(ConfigurationSetting(key="web:nil", value=None))
    tags = {"nil": None, "was": "x"}
    service.sdk.set_configuration_setting(ConfigurationSetting(key="web:tag", value="y", tags=tags))
    service.set("web:empty", "")
    await repo.settle({"tag": "{value: y, tags: {nil: '', was: x}}", "nil": "''", "empty": "''", "was": "text"})
    assert tags.items() <= service.must_get("web:tag").tags.items()
    assert [service.must_get(f"web:{key}").value for key in ("nil", "empty", "was")] == [None, "", "text"]
    tag = "{value: z, tags: {nil: '', was: ''}}"
    await repo.settle({"tag": tag, "nil": "{value: '', tags: {a: b}}", "empty": "''", "was": "''"})
    assert {"nil": None, "was": ""}.items() <= service.must_get("web:tag").tags.items()
    assert [service.must_get(f"web:{key}").value for key in ("nil", "empty", "was")] == [None, "", ""]
    assert service.must_get("web:nil").tags["a"] == "b"
    assert changes(await repo.plan_all()) == []
