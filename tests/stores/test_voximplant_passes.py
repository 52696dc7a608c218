"""Whole passes against Voximplant's storage, from YAML to the store and back, through faults, foreign writers and kills."""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import time
from pathlib import Path

import pytest

from kvsync.app import TargetSelection
from kvsync.model.entry import Target
from kvsync.model.plan import Plan
from kvsync.rendering.text import render_plan
from kvsync.testing import FakeClock
from tests.cli.runner import run_command
from tests.stores.emulated import SharedClock, apply_broken_listing, changes, kill_while_writing, many, outcomes
from tests.stores.voximplant_repo import Repo
from tests.stores.voximplant_service import DELETE, ITEMS, SET, Service
from tests.support.examples import one_and_more

DAY = 86_400
LEDGERS = ("local", "store")


@pytest.fixture
def repo(tmp_path: Path, service: Service) -> Repo:
    return Repo(tmp_path, service)


@pytest.fixture(params=LEDGERS)
def either(request: pytest.FixtureRequest, tmp_path: Path, service: Service) -> Repo:
    """A repository with the ledger here or there."""
    return Repo(tmp_path, service, ledger=request.param)


EVERYTHING = {
    "plain": "Hello",
    "empty": '""',
    "lines": '"one\\r\\ntwo\\n"',
    "ключ-Ё.1": '"\\u00e9 e\\u0301 🎉 + & = %"',
    "json": '{json: {b: 1, a: [1.5, null, "é"]}}',
    "long": "ы" * 2000,
    "ttl": "{value: x, ttl: 7d}",
    "seconds": "{value: x, ttl: 1h, renew_before: 0s}",
    "quarter": "{value: x, ttl: 90d}",
    "far": "{value: x, expires_at: 2199-12-24T00:00:00Z}",
    "secret": "{env: API_TOKEN}",
    "kept": "{value: x, protected: true}",
    "seed": "{value: x, mode: create-only}",
    "a:b#c+d;e": "1",
    "..": "1",
}


# -- promise 1: nothing to do, nothing done ---------------------------------------------------------------------------


async def test_a_second_pass_has_nothing_to_do(either: Repo, service: Service) -> None:
    """Right after a successful pass the next one plans nothing and writes nothing, whatever the entries hold."""
    await either.settle(EVERYTHING)
    plan = await either.plan()
    assert changes(plan) == []
    assert plan.unchanged == len(EVERYTHING)
    assert (await either.apply()).run is None
    assert service.requests() == {ITEMS: 2}
    assert service.values("web:")["web:long"] == "ы" * 2000


async def test_labels_go_into_keys(tmp_path: Path, service: Service) -> None:
    """With a key format that holds the label, labelled entries are entries of their own, and nothing else is touched."""
    repo = Repo(tmp_path, service, extra='    key_format: "{namespace}:{label}:{key}"\n')
    service.put("web:elsewhere", "foreign")
    await repo.settle({"theme": "{value: light, labels: {prod: dark}}"})
    assert service.values() == {"web::theme": "light", "web:prod:theme": "dark", "web:elsewhere": "foreign"}
    assert changes(await repo.plan()) == []


async def test_what_the_store_cannot_hold_is_reported_offline(tmp_path: Path, service: Service) -> None:
    """Characters, lengths, lifetimes, labels, metadata, bytes and kvsync's own keys: all told at once, with nothing sent."""
    repo = Repo(tmp_path, service)
    wrong = {
        "a/b": "1",
        "long": "ы" * 2001,
        "k" * 197: "1",
        "old": "{value: x, ttl: 91d}",
        "labelled": "{value: x, labels: {prod: y}}",
        "meta": "{value: x, metadata: {a: 1}}",
        "bytes": '{base64: "/w=="}',
        '"#kvsync.ledger"': "1",
    }
    repo.want(wrong)
    result = repo.command("validate")
    assert result.returncode == 78
    said = (
        "contains characters that voximplant does not allow",
        "2,001 characters",
        "201 characters",
        "7,862,400s",
        "key_format",
        "does not support metadata",
        "UTF-8",
    )
    for words in (*said, "the ledger of kvsync", "state/web.yaml:5:3"):
        assert words in result.stderr, words
    assert service.requests() == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("    application: first\n", "either application_id or application"),
        ('    key_format: "{namespace}.{key}"\n', "first colon"),
        ('    key_format: "{key}"\n', "first colon"),
        ("    requests_per_second: 0\n", "requests_per_second"),
        ("    ledgr: store\n", "ledger"),
    ],
)
async def test_options_that_make_no_sense(tmp_path: Path, service: Service, options: str, said: str) -> None:
    """They are reported with their place before anything is sent."""
    repo = Repo(tmp_path, service, extra=options)
    repo.want({"a": "1"})
    result = repo.command("validate")
    assert result.returncode == 78
    assert said in result.stderr
    assert "kvsync.yaml:" in result.stderr
    assert service.requests() == {}


# -- what it costs ----------------------------------------------------------------------------------------------------


async def test_a_thousand_entries(repo: Repo, service: Service) -> None:
    """1,000 entries are observed in 20 calls and one that finds that there are no more; 980 in 20. Each is written by one call,
    with one listing before all of them and one after, and the plan says how many calls it takes at most."""
    repo.clock = FakeClock(float(int(time.time())))
    repo.want(many(300))
    plan = await repo.plan()
    assert plan.cost.requests == 3 * 300
    await repo.apply()
    assert service.requests() == {SET: 300, ITEMS: 2 + 1 + 7}  # two plans, a page before the batch, seven after it
    there = 300
    for count, pages in ((980, 20), (1000, 21)):
        for number in range(there, count):
            service.put(f"web:foreign-{number}", "1")
        there = count
        service.clear_requests()
        assert changes(await repo.plan()) == []
        assert service.requests() == {ITEMS: pages}


async def test_changes_cost_no_more_than_they_must(tmp_path: Path, service: Service) -> None:
    """With the ledger in the store a change takes what it takes and writes of the part of the ledger around it, and a pass
    without one takes none."""
    repo = Repo(tmp_path, service, ledger="store")
    await repo.settle(many(300))
    pieces = len(service.everything()) - len(service.items())
    repo.want(many(300).replace("v60\n", "other\n"))
    assert outcomes(await repo.apply()) == {"key-00060": "applied"}
    counts = service.requests()
    # Where pieces end follows from what is in them, moments included: how many a change touches varies a little.
    assert counts[SET] - 1 <= pieces / 2
    assert counts.get(DELETE, 0) <= pieces / 2
    pages = math.ceil(
        (len(service.everything()) - 1) / 49
    )  # each page begins with the entry that the one before ended with
    service.clear_requests()
    await repo.apply()
    assert service.requests() == {ITEMS: pages}


async def test_the_plan_says_what_is_not_promised(repo: Repo) -> None:
    """A plan for a store without compare-and-set says so."""
    repo.want({"a": "1"})
    target = await repo.plan()
    assert "voximplant has no compare-and-set" in render_plan(Plan("team-a", (target,), ""))


# -- promises 2 and 5: other writers, pages that move -----------------------------------------------------------------


async def test_what_changed_since_the_plan_is_not_overwritten(either: Repo, service: Service) -> None:
    """What another program made, changed or deleted between plan and apply stays as it is."""
    await either.settle({"changed": "1", "gone": "1", "fine": "1"})
    either.want({"changed": "2", "gone": "2", "fine": "2", "new": "2"})

    def interfere() -> None:
        service.put("web:changed", "theirs")
        service.put("web:new", "theirs")
        service.delete("web:gone")

    found = outcomes(await either.apply(interfere))
    assert found.pop("fine") == "applied"
    assert set(found.values()) == {"conflict"}
    assert service.values() == {"web:changed": "theirs", "web:new": "theirs", "web:fine": "2"}


async def test_foreign_entries_are_left_alone(either: Repo, service: Service) -> None:
    """What kvsync did not write is neither deleted nor changed by whatever it does next to it, in whatever namespace it is."""
    foreign = ("web:foreign", "web", "website:a", "we", "other:web:a", "web:deep:a")
    for key in foreign:
        service.put(key, "theirs", ttl=5000)
    before = service.items()
    await either.settle({"a": "1", "b": "1"})
    either.want({"a": "2"}, "absent: [foreign]\n")
    plan = await either.plan()
    assert [one.identity.key for one in plan.refused] == ["foreign"]
    await either.apply()
    after = service.items()
    assert set(after) == {"web:a", *foreign}
    assert {key: after[key] for key in foreign} == before


@pytest.mark.parametrize("fault", ["500:0.9", "200:0.9", "truncate:0.9", "drop:0.9", "416:0.9"])
async def test_a_listing_that_breaks_off_deletes_nothing(either: Repo, service: Service, fault: str) -> None:
    """When pages of a listing cannot be had nothing is deleted, whatever is missing in it; the next pass goes on."""
    for number in range(160):
        service.put(f"web:foreign-{number}", "1")
    await either.settle(many(30))
    either.want(many(20))
    await break_off(either, service, fault)
    assert len(service.items("web:key")) == 30
    await either.apply()
    assert len(service.items("web:key")) == 20
    assert len(service.items("web:foreign")) == 160


async def break_off(repo: Repo, service: Service, fault: str) -> None:
    """Let a listing break off after its first page, and apply what is planned by it, with all the approval there is."""
    async with repo.open() as workspace:
        await apply_broken_listing(workspace, service, fault)


@pytest.mark.parametrize("order", ["insertion", "key", "written"])
async def test_five_hundred_entries_while_pages_move(tmp_path: Path, order: str) -> None:
    """However entries end and come while they are listed: what is listed as whole lacks nothing, so that nothing of ours is
    taken for lost, and what is no longer desired goes, and nothing else."""
    with Service.serve(switches={"order": order}) as service:
        repo = Repo(tmp_path, service)
        for number in range(400):
            service.put(f"web:{number % 10}-foreign-{number}", "1")
        keys = many(100).replace("key-", "5-key-")
        await repo.settle(keys)
        repo.want("".join(keys.splitlines(keepends=True)[10:]))
        service.faults("page-expiry:0.3,page-write:0.1", seed=7)
        for _ in range(6):
            async with repo.open() as workspace:
                plan = await workspace.plan()
                for one in plan.targets[0].changes:
                    assert (one.cause.value, one.action.value) in {("removed", "delete"), ("missing", "create")}
                    if one.cause.value == "missing" and plan.targets[0].complete:
                        assert vox_lacks(service, one.identity.key)
                await workspace.apply(plan, command="test")
        assert {"page-expiry", "page-write"} <= service.control("GET", "stats")["faults"].keys()
        service.faults("")
        await repo.converge()
        assert set(service.items("web:5-key")) == {f"web:5-key-{number:05}" for number in range(10, 100)}


def vox_lacks(service: Service, key: str) -> bool:
    """True when an entry really is gone: faults end ours as well as others'."""
    faults = service.control("GET", "faults")["faults"]
    service.faults("")
    found = service.keys()
    service.control("PUT", "faults", faults)
    return f"web:{key}" not in found


@pytest.mark.parametrize("prune", ["owned", "scope"])
@pytest.mark.parametrize("ledger", LEDGERS)
async def test_a_namespace_within_another(tmp_path: Path, service: Service, ledger: str, prune: str) -> None:
    """`web` and `web:de`, both managed, never take each other's entries for their own: not what the other asks for, not what it
    has written earlier, not what is foreign there; not even with `prune: scope`."""
    policy = f"{{prune: {prune}, guard: {{max_delete_pct: 100}}}}"
    repo = Repo(tmp_path, service, ledger=ledger, policy=policy)
    service.put("web:de:foreign", "theirs")
    service.put("web:foreign", "theirs")
    repo.want({"a": "outer", "b": "outer"})
    repo.want({"a": "inner", "b": "inner"}, namespace="web:de")
    for _ in range(2):
        await repo.apply()
    kept = set() if prune == "scope" else {"web:foreign", "web:de:foreign"}
    ours = {"web:a", "web:b", "web:de:a", "web:de:b"}
    assert set(service.items()) == ours | kept
    service.put("web:de:later", "theirs")
    repo.want({"a": "outer"})
    async with repo.open() as workspace:
        plan = await workspace.plan(TargetSelection([Target("telephony", "web")]))
        assert changes(plan.targets[0]) == [("delete", "removed", "b")]
        await workspace.apply(plan, command="test", approvals=[plan.digest])
    assert set(service.items()) == (ours - {"web:b"}) | kept | {"web:de:later"}
    assert service.values()["web:de:a"] == "inner"


async def test_an_entry_within_another_target_is_reported_offline(repo: Repo, service: Service) -> None:
    """An entry of `web` whose key is one of the managed `web:de` is an error with its place; nothing is sent."""
    repo.want({"a": "1", "de:a": "1"})
    repo.want({"b": "1"}, namespace="web:de")
    result = repo.command("validate")
    assert result.returncode == 78
    assert "state/web.yaml:5:3" in result.stderr
    assert 'belongs to the namespace "web:de"' in result.stderr
    assert service.requests() == {}


async def test_a_namespace_is_taken_over_by_an_inner_one(either: Repo, service: Service) -> None:
    """What moves in the files from `web` into its part `web:de` is the same remote key: it is adopted there, never deleted."""
    await either.settle({"de:a": "1", "b": "1"})
    either.want({"b": "1"})
    either.want({"a": "1"}, namespace="web:de")
    for _ in range(2):
        await either.apply()
    assert service.values() == {"web:de:a": "1", "web:b": "1"}
    async with either.open() as workspace:
        assert [changes(target) for target in (await workspace.plan()).targets] == [[], []]


# -- faults -----------------------------------------------------------------------------------------------------------

FAULTS = one_and_more(
    "429:0.1,502:0.1,drop-after-write:0.2,truncate:0.05,454:0.05",
    "200:0.3",
    "416:0.3",
    "500:0.3",
    "503:0.3",
    "502-after-write:0.4",
    "drop:0.3",
    "drop-after-write:0.4",
    "truncate:0.3",
    "cut:0.3",
    "401:0.2",
    "456:0.2",
    "484:0.3",
    "foreign-write:0.05",
)


@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_goes_wrong_the_next_runs_converge(either: Repo, service: Service, fault: str) -> None:
    """Through every kind of fault the store comes to hold what the files ask, and foreign entries stay as they are."""
    service.put("web:foreign", "1", ttl=70 * DAY)
    before = service.items()["web:foreign"]
    await either.settle(many(12, "old"))
    either.want("".join(many(16, "new").splitlines(keepends=True)[4:]))
    service.faults(fault, seed=5)
    for _ in range(4):
        await either.attempt()
    service.faults("")
    for number in range(4, 16):
        if service.values().get(f"web:key-{number:05}", "").startswith("written by another"):
            service.delete(f"web:key-{number:05}")
    await either.converge()
    assert service.values("web:") == {f"web:key-{number:05}": f"new{number}" for number in range(4, 16)} | {
        "web:foreign": "1"
    }
    assert service.items()["web:foreign"] == before


async def test_a_kill_in_the_middle_loses_nothing(either: Repo, service: Service) -> None:
    """Killed while it writes, the next run brings the store to what the files ask, and foreign entries stay as they are; so do
    what was ours before."""
    service.put("web:foreign", "1")
    either.want(many(60))
    for writes in (10, 30):
        await asyncio.to_thread(kill_while_writing, either, writes)
    either.want(many(50))
    await either.apply()
    assert set(service.items()) == {f"web:key-{number:05}" for number in range(50)} | {"web:foreign"}
    assert changes(await either.plan()) == []


async def test_a_repetition_that_is_refused_is_looked_up(tmp_path: Path) -> None:
    """Where the service takes a write for one that was sent again (484), kvsync looks whether it was done, and sends it no more
    often than it must: the entry is written once."""
    with Service.serve(switches={"resend": "60s"}) as service:
        repo = Repo(tmp_path, service)
        repo.clock = SharedClock(service)
        repo.want({"a": "1"})
        service.faults("drop-after-write:1", times=1)
        assert outcomes(await repo.apply()) == {"a": "applied"}
        assert service.requests()[SET] == 1
        service.delete("web:a")  # within the minute: the service refuses what is the same as before, until it is over
        before, writes = repo.clock.now(), service.requests()[SET]
        assert outcomes(await repo.apply()) == {"a": "applied"}
        assert service.requests()[SET] - writes <= 12
        assert repo.clock.now() - before >= 30
        assert service.values() == {"web:a": "1"}


async def test_the_rate_is_kept(tmp_path: Path) -> None:
    """At the usual four calls a second the service, which allows five, never has to refuse one."""
    with Service.serve(switches={"rate": "5/1s"}) as service:
        repo = Repo(tmp_path, service)
        file = repo.root / "kvsync.yaml"
        file.write_text(file.read_text().replace("    requests_per_second: 100000\n", ""))
        repo.clock = clock = SharedClock(service)
        started = clock.now()
        repo.want(many(40))
        plan = await repo.plan()
        assert set(outcomes(await repo.apply()).values()) == {"applied"}
        calls = sum(service.requests().values()) - 2  # without the listings of two plans
        assert calls > 40
        assert clock.now() - started >= calls / 4 - 1
        assert plan.cost.seconds == pytest.approx(30, abs=1)
        assert service.control("GET", "stats")["statuses"] == {"200": sum(service.requests().values())}


# -- secrets, and the way back ----------------------------------------------------------------------------------------


async def test_no_secret_leaves_but_to_the_store(either: Repo, service: Service) -> None:
    """Neither the key nor a token nor a sensitive value is in any output, in the state directory or in the ledger, also when
    things go wrong."""
    either.want({"a": "1", "secret": "{env: API_TOKEN}"})
    texts = []
    apply = ("apply", "--yes", "-o", "json")
    for fault, command in (("401:1", apply), ("500:1", apply), ("", ("plan", "-o", "json")), ("401:1", ("doctor",))):
        service.faults(fault, times=2)
        result = either.command("--log-level", "debug", *command)
        texts += [result.stdout, result.stderr]
    service.faults("")
    assert either.command("apply", "--yes").returncode == 0
    texts += [file.read_bytes().decode("latin-1") for file in (either.root / ".kvsync").rglob("*") if file.is_file()]
    texts += [item["value"] for key, item in service.everything().items() if "#kvsync." in key]
    assert service.values()["web:secret"] == "very-secret-token"
    for secret in (*service.key_file()["private_key"].splitlines()[1:-1], "very-secret-token", "eyJ"):
        assert not any(secret in text for text in texts)


async def test_dump_and_plan_agree(either: Repo, service: Service, tmp_path: Path) -> None:
    """What is dumped asks for exactly what the store holds: what is ours as it was asked for, what is foreign with its end."""
    entries = {key: value for key, value in EVERYTHING.items() if key not in ("secret", "far")}
    service.put("web:foreign", "\r\n é")
    service.put("web:soon", "1", ttl=5000)
    await either.settle(entries)
    before = service.items()
    (tmp_path / "state/web.yaml").unlink()
    result = either.command("dump", "telephony", "--to", str(either.root / "state"))
    assert result.returncode == 0, result.stderr
    assert "90d" not in (tmp_path / "state/web.yaml").read_text().replace("quarter:\n    ttl: 90d", "")
    assert changes(await either.plan()) == [("adopt", "unowned", "foreign"), ("adopt", "unowned", "soon")]
    await either.apply()
    assert changes(await either.plan()) == []
    assert service.items() == before


async def test_a_run_is_taken_back(either: Repo, service: Service) -> None:
    """`undo` brings back the values, lifetimes and foreign entries that a run had changed, deleted or adopted."""
    service.put("web:adopted", "1", ttl=80 * DAY)
    await either.settle({"a": "{value: 1, ttl: 7d}", "c": "1"})
    before = service.values()
    either.want({"c": "2", "adopted": "{value: 1}"})
    report = await either.apply()
    assert outcomes(report) == {"a": "applied", "c": "applied", "adopted": "applied"}
    assert report.run is not None
    result = either.command("undo", report.run, "--yes")
    assert result.returncode == 0, result.stderr + result.stdout
    assert service.values() == before
    assert service.items()["web:a"]["expires_at"] - time.time() < 7 * DAY + 5


# -- the whole --------------------------------------------------------------------------------------------------------

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "voximplant"


def test_the_example_works(service: Service, tmp_path: Path) -> None:
    """examples/voximplant is applied to an empty application as it stands, and a second run finds nothing to do."""
    shutil.copytree(EXAMPLE, tmp_path / "copy", ignore=shutil.ignore_patterns(".kvsync"))
    config = tmp_path / "copy/kvsync.yaml"
    text = config.read_text()
    assert "http://127.0.0.1:8790 " in text
    quick = text.replace("requests_per_second: 4 ", "requests_per_second: 1000 ")
    config.write_text(quick.replace("http://127.0.0.1:8790", service.url))

    def run(*arguments: str) -> str:
        words = ["-c", str(config), *arguments]
        return run_command(words, tmp_path, os.environ | service.env, code=0).stdout

    run("validate")
    run("apply", "--yes")
    assert service.values()["ivr:greeting"] == "Welcome to the shop"
    run("plan", "--exit-code", "--deep")
    assert len(json.loads(run("--env", "prod", "plan", "-o", "json"))["targets"][0]["changes"]) == 2
    assert "ledger" in run("doctor")


def test_the_type_is_listed() -> None:
    """`kvsync stores` shows what the store can do."""
    result = run_command(["stores", "-o", "json"], Path.cwd(), code=0)
    (found,) = (one for one in json.loads(result.stdout)["stores"] if one["type"] == "voximplant")
    assert (found["compare_and_set"], found["values_in_listing"], found["marks"]) == (False, True, "ledger")
