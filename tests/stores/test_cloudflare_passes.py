"""Whole passes against Workers KV, from YAML to the store and back, through faults, foreign writers and kills."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from kvsync.app import TargetSelection
from kvsync.model.plan import Plan
from kvsync.rendering.text import render_plan
from kvsync.testing import FakeClock
from tests.cli.runner import run_command
from tests.stores.cloudflare_repo import Repo
from tests.stores.cloudflare_service import Service
from tests.stores.emulated import (
    FREELY,
    FastForwardClock,
    SharedClock,
    apply_broken_listing,
    changes,
    kill_while_writing,
    many,
    outcomes,
)
from tests.stores.signing import signer
from tests.stores.traced import documented_path, traced_writes
from tests.support.examples import one_and_more

HOUR, DAY = 3600, 86_400
KEYS, GET, PUT = "GET /{namespace_id}/keys", "POST /{namespace_id}/bulk/get", "PUT /{namespace_id}/bulk"
DELETE, LOOK = "POST /{namespace_id}/bulk/delete", "GET /{namespace_id}"


@pytest.fixture
def repo(tmp_path: Path, service: Service) -> Repo:
    return Repo(tmp_path, service)


EVERYTHING = {
    "plain": "Hello",
    "empty": '""',
    "lines": '"one\\r\\ntwo\\n"',
    "ключ/é": '"\\u00e9 e\\u0301 🎉"',
    "json": '{json: {b: 1, a: [1.5, null, "é"]}}',
    "meta": '{value: x, metadata: {z: 1, a: {c: [1, 2.0], b: "é"}}}',
    "tagged": "{value: x, tags: {team: web, stage: beta}, content_type: text/html}",
    "ttl": "{value: x, ttl: 7d}",
    "minute": "{value: x, ttl: 60s, renew_before: 0s}",
    "end": "{value: x, expires_at: 2199-12-24T00:00:00Z}",
    "binary": '{base64: "AAH/gAI="}',
    "binary-ttl": '{base64: "/w==", ttl: 1h, metadata: {a: 1}}',
    "secret": "{env: API_TOKEN}",
    "kept": "{value: x, protected: true}",
    "seed": "{value: x, mode: create-only}",
    "a/../b": "1",
    '"q?x=1&y=2 #%2F"': "1",
}


# -- promise 1: nothing to do, nothing done ---------------------------------------------------------------------------


@pytest.mark.parametrize("deep", [False, True])
async def test_a_second_pass_has_nothing_to_do(repo: Repo, service: Service, deep: bool) -> None:
    """Right after a successful pass the next one plans nothing and writes nothing, whatever the entries hold."""
    await repo.settle(EVERYTHING)
    plan = await repo.plan(deep=deep)
    assert changes(plan) == []
    assert plan.unchanged == len(EVERYTHING)
    assert (await repo.apply(deep=deep)).run is None
    counts = service.requests()
    assert counts.pop(KEYS) == 2
    assert not counts.keys() & {PUT, DELETE}
    assert (GET in counts) is deep


async def test_metadata_in_another_order_is_not_drift(repo: Repo, service: Service) -> None:
    """A server that gives metadata back in another order has not changed it."""
    await repo.settle({"a": "{value: x, metadata: {z: 1, y: {b: 1, a: 2}}, tags: {t: u, a: b}}"})
    metadata = service.listed("web")["a"]["metadata"]
    ours = dict(reversed(metadata["kvsync"].items()))
    service.put("web", "a", b"x", metadata={"kvsync": ours, "y": {"a": 2, "b": 1}, "z": 1})
    for deep in (False, True):
        assert changes(await repo.plan(deep=deep)) == []


async def test_labels_go_into_keys(tmp_path: Path, service: Service) -> None:
    """With a key format that holds the label, labelled entries are entries of their own, and nothing else is touched."""
    repo = Repo(tmp_path, service, extra='    key_format: "{label}/{key}"\n')
    service.put("web", "elsewhere", b"foreign")
    await repo.settle({"theme": "{value: light, labels: {prod: dark}}"})
    assert service.values("web") == {"/theme": b"light", "prod/theme": b"dark", "elsewhere": b"foreign"}
    assert changes(await repo.plan()) == []


async def test_a_label_without_a_place_is_reported_offline(repo: Repo, service: Service) -> None:
    """Labels without a key format, and metadata that is too long, are found by `validate` before anything is sent."""
    long = "y" * 1020
    repo.want({"theme": "{value: light, labels: {prod: dark}}", "m": f"{{value: x, metadata: {{x: {long}}}}}"})
    result = repo.command("validate")
    assert result.returncode == 78
    assert "key_format" in result.stderr
    assert "1,024" in result.stderr
    assert service.total() == 0


# -- what it costs ----------------------------------------------------------------------------------------------------


@pytest.mark.system
async def test_twenty_five_thousand_entries(repo: Repo, service: Service) -> None:
    """25,000 entries are written in 25 calls, each after one that looks, observed in 25, and read in 250 when asked to be.
    Before the first of them one call checks that the title still belongs to the same namespace."""
    repo.want(many(25_000))
    service.clear_requests()
    report = await repo.apply()
    assert set(outcomes(report).values()) == {"applied"}
    assert service.requests() == {"GET /": 1, LOOK: 1, KEYS: 26, PUT: 25}
    for deep, reads in ((False, {}), (True, {GET: 250})):
        service.clear_requests()
        plan = await repo.plan(deep=deep)
        assert changes(plan) == []
        assert plan.unchanged == 25_000
        assert service.requests() == {"GET /": 1, KEYS: 25, **reads}


async def test_changes_cost_no_more_than_they_must(repo: Repo, service: Service) -> None:
    """Changing 150 of 1,200 entries and deleting 20 takes a listing, the reads that show what is there, and one call for each
    kind of write; the plan says what it will cost."""
    await repo.settle(many(1200))
    repo.want(many(150, "new") + "".join(many(1180).splitlines(keepends=True)[150:]))
    plan = await repo.plan()
    assert (len(plan.changes), plan.cost.requests) == (170, 4)
    service.clear_requests()
    assert set(outcomes(await repo.apply()).values()) == {"applied"}
    # two to plan, and right before writing two for what changes and one for what goes
    assert service.requests() == {"GET /": 1, LOOK: 1, KEYS: 2, GET: 5, PUT: 1, DELETE: 1}


async def test_a_create_takes_one_call_more_than_in_app_configuration(
    repo: Repo, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A create passes the functions of the architecture page, and one that notices that the namespace is gone."""
    before, after = documented_path()[2:-3], documented_path()[-2:]
    paths = traced_writes(monkeypatch)
    await repo.settle({"greeting": "Hello"})
    own = [
        ("CloudflareKvStore.write", "stores/cloudflare_kv/store.py"),
        ("NamespaceResolver.ask", "stores/namespaces.py"),
    ]
    assert paths == [[*before, *own, *after]]


async def test_a_large_batch_is_checked_by_a_listing(repo: Repo, service: Service) -> None:
    """A call of 1,000 creates or updates follows one page of keys, and values are read once, for the plan; what another program
    changed since stays as it is."""
    repo.clock = FakeClock(float(int(time.time())))
    repo.want(many(1000))
    assert set(outcomes(await repo.apply()).values()) == {"applied"}
    assert service.requests() == {"GET /": 1, LOOK: 1, KEYS: 2, PUT: 1}
    repo.clock.advance(120)
    repo.want(many(1001, "w"))
    service.clear_requests()
    found = outcomes(await repo.apply(lambda: service.put("web", "key-00007", b"theirs")))
    assert found.pop("key-00007") == "conflict"
    assert set(found.values()) == {"applied"}
    # Ten to plan, two for the one that changed (compared, planned again), one for the new one; one PUT is the foreign one.
    assert service.requests() == {"GET /": 1, LOOK: 1, KEYS: 2, GET: 10 + 2 + 1, PUT: 2 + 1}
    assert service.value("web", "key-00007") == b"theirs"


async def test_the_plan_says_what_is_not_promised(repo: Repo) -> None:
    """A plan for a store without compare-and-set says so."""
    repo.want({"a": "1"})
    target = await repo.plan()
    text = render_plan(Plan("team-a", (target,), ""))
    assert "cloudflare-kv has no compare-and-set" in text


# -- promises 2, 4 and 5: other writers -------------------------------------------------------------------------------


async def test_what_changed_since_the_plan_is_not_overwritten(repo: Repo, service: Service) -> None:
    """What another program made, changed or deleted between plan and apply stays as it is, though its mark was kept."""
    await repo.settle({"changed": "1", "marked": "1", "gone": "1", "fine": "1"})
    marked = service.listed("web")["marked"]["metadata"]
    repo.want({"changed": "2", "marked": "2", "gone": "2", "fine": "2", "new": "2"})

    def interfere() -> None:
        service.put("web", "changed", b"theirs")
        service.put("web", "marked", b"theirs", metadata=marked)
        service.put("web", "new", b"theirs")
        service.delete("web", "gone")

    report = await repo.apply(interfere)
    found = outcomes(report)
    assert found.pop("fine") == "applied"
    assert set(found.values()) == {"conflict"}
    assert service.values("web") == {"changed": b"theirs", "marked": b"theirs", "new": b"theirs", "fine": b"2"}


async def test_an_edit_that_kept_the_mark_is_found_by_a_deep_pass(repo: Repo, service: Service) -> None:
    """A foreign edit that left the metadata in place is not seen in a listing, and is found and healed by a deep pass."""
    await repo.settle({"a": "1", "b": "2", "c": '{base64: "/wA="}'})
    for key in ("a", "c"):
        service.put("web", key, b"edited", metadata=service.listed("web")[key]["metadata"])
    assert changes(await repo.plan()) == []
    service.clear_requests()
    found = changes(await repo.plan(deep=True))
    assert found == [("update", "drifted", "a"), ("update", "drifted", "c")]
    await repo.apply(deep=True)
    assert service.values("web") == {"a": b"1", "b": b"2", "c": b"\xff\x00"}


async def test_foreign_entries_are_left_alone(repo: Repo, service: Service) -> None:
    """Entries without our mark, or with another owner's, are neither deleted nor changed by whatever we do next to them."""
    foreign: dict[str, dict[str, Any]] = {
        "foreign": {"value": "1", "metadata": ["any", {"thing": None}], "expiration": int(time.time()) + 9 * DAY},
        "theirs": {"value": "1", "metadata": {"kvsync": {"o": "team-b", "h": "00"}}},
        "odd": {"value": "1", "metadata": {"kvsync": "yes"}},
    }
    service.put_all("web", [{"key": key, **fields} for key, fields in foreign.items()])
    before = service.listed("web")
    await repo.settle({"a": "1", "b": "1"})
    repo.want({"a": "2"}, "absent: [foreign, theirs]\n")
    plan = await repo.plan()
    assert {one.identity.key for one in plan.refused} == {"foreign", "theirs"}
    await repo.apply()
    after = service.listed("web")
    assert set(after) == {"a", *foreign}
    assert {key: after[key] for key in foreign} == before


async def test_a_listing_that_breaks_off_deletes_nothing(repo: Repo, service: Service) -> None:
    """When pages of a listing cannot be had nothing is deleted, whatever is missing in it; the next pass goes on."""
    await repo.settle(many(2500))
    repo.want(many(2400))
    repo.clock = FastForwardClock(61)  # within a minute what is not listed may only be late
    for fault in ("500:0.9", "cut:0.9", "truncate:0.9", "429:0.9", "drop:0.9"):
        await break_off(repo, service, fault)
        assert len(kv_keys(service)) == 2500
    await repo.apply()
    assert len(kv_keys(service)) == 2400


async def break_off(repo: Repo, service: Service, fault: str) -> None:
    """Let a listing break off after its first page, and apply what is planned by it, with all the approval there is."""
    async with repo.open() as workspace:
        await apply_broken_listing(workspace, service, fault, methods=["GET"])


def kv_keys(service: Service) -> set[str]:
    service.faults("")
    return set(service.listed("web"))


async def test_a_namespace_that_is_deleted_is_not_an_empty_store(repo: Repo, service: Service) -> None:
    """A namespace deleted between plan and apply, or before the plan, is an error; nothing is made in its place."""
    await repo.settle({"a": "1", "b": "1"})
    repo.want({"a": "2", "b": "1"})
    report = await repo.apply(lambda: service.remove("web"))
    assert "applied" not in outcomes(report).values()
    assert 'no namespace "web"' in (report.targets[0].error or "")
    plan = await repo.plan()
    assert 'no namespace "web"' in (plan.error or "")
    assert plan.changes == ()
    assert service.titles() == []


async def test_a_namespace_may_be_made(tmp_path: Path, service: Service) -> None:
    """With create_namespaces the first apply makes the namespace, and a plan alone does not."""
    repo = Repo(tmp_path, service, extra="    create_namespaces: true\n")
    service.remove("web")
    repo.want({"a": "1"})
    assert changes(await repo.plan()) == [("create", "new", "a")]
    assert service.titles() == []
    assert outcomes(await repo.apply()) == {"a": "applied"}
    assert service.titles() == ["web"]
    assert changes(await repo.plan()) == []


# -- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    one_and_more(
        "429:0.1,500:0.1,drop-after-write:0.2,partial-bulk:0.2,truncate:0.05",
        "429:0.4",
        "500:0.3",
        "524:0.3",
        "524-after-write:0.4",
        "403:0.3",
        "200:0.3",
        "drop:0.3",
        "drop-after-write:0.4",
        "truncate:0.3",
        "cut:0.3",
        "partial-bulk:0.3",
        "413:0.3",
    ),
)
async def test_whatever_goes_wrong_the_next_runs_converge(tmp_path: Path, service: Service, fault: str) -> None:
    """Through every kind of fault the store comes to hold what the files ask, and foreign entries stay as they are."""
    repo = Repo(tmp_path, service, extra="    batch_size: 10\n", policy=FREELY)
    service.put("web", "foreign", b"\xff\x00", metadata={"a": 1})
    before = service.listed("web")["foreign"]
    await repo.settle(many(60, "old"))
    wanted = {f"key-{number:05}": b"new%d" % number for number in range(20, 80)}
    repo.want("".join(many(80, "new").splitlines(keepends=True)[20:]))
    service.faults(fault, seed=5)
    for _ in range(6):
        async with repo.open() as workspace:
            plan = await workspace.plan(TargetSelection())
            await workspace.apply(plan, command="test")
    service.faults("")
    await repo.converge()
    assert service.values("web") == wanted | {"foreign": b"\xff\x00"}
    assert service.listed("web")["foreign"] == before


async def test_a_call_that_is_too_large_is_split(tmp_path: Path) -> None:
    """What the service refuses for its size, or cannot finish in time, is sent in smaller calls until it goes, in one run."""
    for switches in ({"bulk-bytes": "9000"}, {"bulk-timeout": "30"}):
        with Service.serve(switches=switches) as service:
            service.reset("web")
            folder = tmp_path / next(iter(switches))
            folder.mkdir()
            repo = Repo(folder, service)
            repo.want(many(200))
            assert set(outcomes(await repo.apply()).values()) == {"applied"}
            assert len(service.listed("web")) == 200


async def test_a_refused_batch_is_halved_to_the_bad_key(tmp_path: Path) -> None:
    """A batch that is refused because of one entry is halved until that entry is alone; the others are written, and the bad
    one waits in quarantine until it changes."""
    with Service.serve(switches={"bulk-bytes": "5000"}) as service:
        service.reset("web")
        repo = Repo(tmp_path, service)
        large = "x" * 6000
        repo.want(many(40) + f"  large: {large}\n")
        found = outcomes(await repo.apply())
        assert found.pop("large") == "failed"
        assert set(found.values()) == {"applied"}
        plan = await repo.plan()
        assert changes(plan) == []
        assert [one.identity.key for one in plan.refused] == ["large"]
        repo.want(many(40) + "  large: small\n")
        assert outcomes(await repo.apply()) == {"large": "applied"}


async def test_the_wall_of_requests_is_not_run_into(tmp_path: Path) -> None:
    """Where the service allows few requests and says so, kvsync slows down in time and is never refused."""
    with Service.serve(switches={"rate": "1200"}) as service:
        repo = Repo(tmp_path, service)
        repo.clock = clock = SharedClock(service)
        service.reset("web")
        clock.advance(0)
        started = repo.clock.now()
        repo.want(many(20))
        await repo.apply()
        async with repo.open() as workspace:
            for _ in range(1500):
                await workspace.stores["edge"].observe("web", signer(workspace.stores["edge"]))
        statuses = service.control("GET", "stats")["statuses"]
        assert set(statuses) == {"200"}
        assert repo.clock.now() - started >= 270


async def test_a_kill_in_the_middle_loses_nothing(tmp_path: Path, service: Service) -> None:
    """Killed while it writes, the next run brings the store to what the files ask, and foreign entries stay as they are."""
    repo = Repo(tmp_path, service, extra="    batch_size: 20\n")
    service.put("web", "foreign", b"1")
    repo.want(many(400))
    await asyncio.to_thread(kill_while_writing, repo, 5)
    assert 0 < len(service.listed("web")) <= 401
    await repo.apply()
    assert set(service.listed("web")) == {f"key-{number:05}" for number in range(400)} | {"foreign"}
    assert changes(await repo.plan()) == []


# -- time -------------------------------------------------------------------------------------------------------------


async def test_ttls_over_virtual_days(repo: Repo, service: Service) -> None:
    """Over days of passes an entry with a TTL is never absent, renewed only when a third of its life is left, and always with
    its value, metadata and mark; one that is to end ends, and is not made again."""
    repo.clock = clock = SharedClock(service)
    repo.want(
        {
            "day": "{value: d, ttl: 24h, metadata: {a: 1}}",
            "hours": "{value: h, ttl: 3h, renew_before: 45m}",
            "once": "{value: o, ttl: 6h, renew_before: 0s}",
            "stays": "s",
        }
    )
    await repo.apply()
    mark = service.listed("web")["day"]["metadata"]
    renewed: dict[str, list[float]] = {"day": [], "hours": []}
    started = clock.now()
    for _ in range(3 * 48):
        clock.advance(HOUR / 2)
        left = {
            key: one["expiration"] - clock.now() for key, one in service.listed("web").items() if "expiration" in one
        }
        for one in (await repo.apply()).plan.targets[0].changes:
            assert (one.action, one.cause) == ("renew", "expiring")
            renewed[one.identity.key].append(left[one.identity.key])
        held = service.listed("web")
        assert {"day", "hours", "stays"} <= set(held)
        assert ("once" in held) is (clock.now() - started < 6 * HOUR)
        assert held["day"]["metadata"] == mark
    assert len(renewed["day"]) == 4
    assert all(left <= 8 * HOUR for left in renewed["day"])
    assert all(left <= 45 * 60 for left in renewed["hours"])
    assert 20 <= len(renewed["hours"]) <= 36


async def test_a_lifetime_that_someone_took_away_is_drift(repo: Repo, service: Service) -> None:
    """Who takes an entry's end away, or gives one to an entry that should stay, is found in the listing, and it is healed."""
    await repo.settle({"ttl": "{value: x, ttl: 7d}", "stays": "x"})
    held = service.listed("web")
    service.put("web", "ttl", b"x", metadata=held["ttl"]["metadata"])
    service.put("web", "stays", b"x", metadata=held["stays"]["metadata"], expiration_ttl=DAY)
    repo.clock = FastForwardClock(61)
    assert [row[1:] for row in changes(await repo.plan())] == [("drifted", "stays"), ("drifted", "ttl")]
    await repo.apply()
    assert "expiration" in service.listed("web")["ttl"]
    assert "expiration" not in service.listed("web")["stays"]


async def test_what_was_just_written_is_not_drift_where_reads_are_late(repo: Repo, service: Service) -> None:
    """While the service still shows the past of what was just written, the next pass has nothing to do; real drift shows once
    the window is over."""
    repo.clock = clock = SharedClock(service)
    await repo.settle({"a": "1", "b": "1", "c": "1"})
    clock.advance(300)
    repo.want({"a": "2", "b": "1", "d": "1"})
    await repo.apply()
    service.faults("stale-read:50s")
    clock.advance(20)
    assert changes(await repo.plan()) == []
    service.faults("")
    service.put("web", "a", b"theirs")
    clock.advance(41)
    assert changes(await repo.plan()) == [("update", "drifted", "a")]


async def test_what_was_just_healed_is_not_drift_where_reads_are_late(repo: Repo, service: Service) -> None:
    """A pass that heals drift ends what the last clean pass knew, although the files are as they were in that one."""
    repo.clock = clock = SharedClock(service)
    await repo.settle({"a": "1", "b": "1"})
    clock.advance(300)
    await repo.converge()
    service.put("web", "a", b"theirs")
    clock.advance(100)
    assert outcomes(await repo.apply()) == {"a": "applied"}
    service.faults("stale-read:50s")
    clock.advance(20)
    assert changes(await repo.plan()) == []


async def test_what_was_seen_once_is_missed_at_once(repo: Repo, service: Service) -> None:
    """Once a pass has seen all that was written, what is deleted or brought back to what it was is drift, however short a time
    ago it was written."""
    await repo.settle({"a": "1", "b": "1"})
    repo.want({"a": "2", "b": "1", "c": "1"})
    await repo.apply()
    service.delete("web", "c")
    assert changes(await repo.plan()) == []  # it may not be listed yet
    await repo.converge()
    repo.clock = FastForwardClock(61)
    await repo.converge()
    repo.want({"a": "3", "b": "1", "c": "1", "d": "1"})
    old = service.listed("web")["a"]["metadata"]
    await repo.apply()
    assert changes(await repo.plan()) == []
    service.delete("web", "d")
    service.put("web", "a", b"2", metadata=old)
    assert changes(await repo.plan()) == [("update", "drifted", "a"), ("create", "missing", "d")]


# -- secrets, and the way back ----------------------------------------------------------------------------------------


async def test_no_secret_leaves_but_to_the_store(repo: Repo, service: Service) -> None:
    """Neither the token nor a sensitive value is in any output or in the state directory, also when things go wrong."""
    repo.want({"a": "1", "secret": "{env: API_TOKEN}", "binary": '{base64: "/w=="}'})
    texts = []
    apply = ("apply", "--yes", "-o", "json")
    for fault, command in (("401:1", apply), ("524:1", apply), ("", ("plan", "-o", "json")), ("401:1", ("doctor",))):
        service.faults(fault, times=2)
        result = repo.command("--log-level", "debug", *command)
        texts += [result.stdout, result.stderr]
    texts += [file.read_bytes().decode("latin-1") for file in (repo.root / ".kvsync").rglob("*") if file.is_file()]
    assert service.value("web", "secret") == b"very-secret-token"
    for secret in (service.token, "very-secret-token"):
        assert not any(secret in text for text in texts)


async def test_dump_and_plan_agree(repo: Repo, service: Service, tmp_path: Path) -> None:
    """What is dumped asks for exactly what the store holds, whatever the values, metadata and ends."""
    entries = {key: value for key, value in EVERYTHING.items() if key not in ("secret", "minute")}
    service.put("web", "foreign", b"\r\n \xc3\xa9", metadata={"z": [1, {"a": None}]})
    service.put("web", "foreign-binary", b"\x00\xff", expiration=int(time.time()) + 9 * DAY)
    await repo.settle(entries)
    before = service.listed("web")
    (tmp_path / "state/web.yaml").unlink()
    result = repo.command("dump", "edge/web", "--to", str(repo.root / "state"))
    assert result.returncode == 0, result.stderr
    plan = await repo.plan()
    assert [row for row in changes(plan) if row[1] != "unowned"] == []
    assert {one.action.value for one in plan.changes} == {"adopt"}
    await repo.apply()
    assert changes(await repo.plan(deep=True)) == []
    after = service.listed("web")
    assert {key: one.get("expiration") for key, one in after.items()} == {
        key: one.get("expiration") for key, one in before.items()
    }


async def test_a_run_is_taken_back(repo: Repo, service: Service) -> None:
    """`undo` brings back values, metadata, marks and foreign entries that a run had changed, deleted or adopted."""
    service.put("web", "adopted", b"1", metadata={"a": 1})
    await repo.settle({"a": "{value: 1, metadata: {m: 1}}", "b": '{base64: "/w=="}', "c": "1"})
    before = service.values("web"), service.listed("web")
    repo.want({"a": "2", "c": "1", "adopted": "{value: 1, metadata: {a: 1}}"})
    repo.clock = FastForwardClock(61)
    report = await repo.apply()
    assert set(outcomes(report).values()) == {"applied"}
    assert report.run is not None
    result = repo.command("undo", report.run, "--yes")
    assert result.returncode == 0, result.stderr + result.stdout
    assert (service.values("web"), service.listed("web")) == before


async def test_the_configuration_is_checked(repo: Repo, service: Service) -> None:
    """Options that make no sense are reported with their place, all at once, before anything is sent."""
    file = repo.root / "kvsync.yaml"
    text = file.read_text().replace(
        f"account_id: {service.account}", "account_id: ../x\n    batch_size: 10001\n    tokn: x"
    )
    file.write_text(text)
    result = repo.command("validate")
    assert result.returncode == 78
    for words in ("account_id", "batch_size", '"tokn"', "kvsync.yaml:8:"):
        assert words in result.stderr
    assert service.total() == 0


def test_the_type_is_listed() -> None:
    """`kvsync stores` shows what the store can do."""
    result = run_command(["stores", "-o", "json"], Path.cwd(), code=0)
    (found,) = (one for one in json.loads(result.stdout)["stores"] if one["type"] == "cloudflare-kv")
    assert (found["compare_and_set"], found["values_in_listing"], found["batch"], found["settle"]) == (
        False,
        False,
        1000,
        60,
    )


EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "cloudflare"


def test_the_example_works(service: Service, tmp_path: Path) -> None:
    """examples/cloudflare is applied to a fresh account as it stands, and a second run finds nothing to do."""
    service.reset()
    shutil.copytree(EXAMPLE, tmp_path / "copy", ignore=shutil.ignore_patterns(".kvsync"))
    config = tmp_path / "copy/kvsync.yaml"
    text = config.read_text()
    assert service.account in text
    config.write_text(text.replace("http://127.0.0.1:8787/client/v4", service.url))

    def run(*arguments: str) -> str:
        words = ["-c", str(config), *arguments]
        return run_command(words, tmp_path, os.environ | service.env, code=0).stdout

    run("validate")
    run("apply", "--yes")
    assert service.titles() == ["site"]
    run("plan", "--exit-code", "--deep")
    assert len(json.loads(run("--env", "prod", "plan", "-o", "json"))["targets"][0]["changes"]) == 1
