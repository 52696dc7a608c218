"""Whole passes against Apify key-value stores, from YAML to the store and back, through faults, foreign writers, lost ledgers,
other machines and kills."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from kvsync.app import TargetSelection
from kvsync.model.pass_options import PassOptions
from kvsync.model.plan import Plan
from kvsync.rendering.text import render_plan
from kvsync.stores.apify.content import whole
from kvsync.testing import FakeClock
from tests.cli.runner import run_command
from tests.daemon.support import until
from tests.status.support import process
from tests.stores.apify_repo import Repo
from tests.stores.apify_service import Service
from tests.stores.emulated import SharedClock, apply_broken_listing, changes, kill_while_writing, many, outcomes
from tests.support.examples import one_and_more

HOUR, DAY = 3600, 86_400
LEDGER = "kvsync.ledger.json"
FIND, KEYS, ZIP = "GET /{storeId}", "GET /{storeId}/keys", "GET /{storeId}/records"
GET, PUT, DELETE = (f"{method} /{{storeId}}/records/{{recordKey}}" for method in ("GET", "PUT", "DELETE"))
BOTH = pytest.mark.parametrize("ledger", ["local", "store"])


@pytest.fixture
def ledger(request: pytest.FixtureRequest) -> str:
    """Where the ledger is; a test may be run with either."""
    return "local"


@pytest.fixture
def repo(tmp_path: Path, service: Service, ledger: str) -> Repo:
    return Repo(tmp_path / "repo", service, ledger)


EVERYTHING = {
    "plain": "Hello",
    "empty": '""',
    "lines": '"one\\r\\ntwo\\n"',
    "accents": '"\\u00e9 e\\u0301 🎉"',
    "json": '{json: {b: 1, a: [1.5, null, "é"]}}',
    "html": "{value: x, content_type: text/html}",
    "typed": '{value: "{}", content_type: "application/json; charset=utf-8"}',
    "ttl": "{value: x, ttl: 7d}",
    "minute": "{value: x, ttl: 60s, renew_before: 0s}",
    "end": "{value: x, expires_at: 2199-12-24T00:00:00Z}",
    "binary": '{base64: "AAH/gAI="}',
    "secret": "{env: API_TOKEN}",
    "kept": "{value: x, protected: true}",
    "seed": "{value: x, mode: create-only}",
    '"..."': "1",
    '"!\'()"': "1",
}


# -- promise 1: nothing to do, nothing done ---------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("deep", [False, True])
async def test_a_second_pass_has_nothing_to_do(repo: Repo, service: Service, deep: bool, ledger: str) -> None:
    """Right after a successful pass the next one plans nothing and writes nothing, and reads no record on its own, whatever the
    entries hold; a deep pass only those that are sensitive, of which the ledger keeps no digest."""
    await repo.settle(EVERYTHING)
    plan = await repo.plan(deep=deep)
    assert changes(plan) == []
    assert plan.unchanged == len(EVERYTHING)
    assert (await repo.apply(deep=deep)).run is None
    view = {ZIP: 2, GET: 2} if deep else {KEYS: 2, **({GET: 2} if ledger == "store" else {})}
    assert service.requests() == {FIND: 2, **view}


async def test_what_is_sent_is_what_others_can_use(repo: Repo, service: Service) -> None:
    """JSON, text, bytes and HTML are stored with content types as the API's own clients would give them."""
    await repo.settle(EVERYTHING)
    assert service.record("web", "json") == ('{"a":[1.5,null,"é"],"b":1}'.encode(), "application/json; charset=utf-8")
    assert service.record("web", "plain") == (b"Hello", "text/plain; charset=utf-8")
    assert service.record("web", "html") == (b"x", "text/html")
    assert service.record("web", "binary") == (b"\x00\x01\xff\x80\x02", "application/octet-stream")


@BOTH
async def test_json_that_another_client_wrote_again_is_not_drift(repo: Repo, service: Service, ledger: str) -> None:
    """The same JSON in other bytes is not a change, is looked at once because its size is another, and then known."""
    await repo.settle({"json": "{json: {b: 1, a: [1, 2]}}", "other": "1"})
    service.put("web", "json", b'{\n  "b": 1,\n  "a": [1, 2]\n}', "application/json")
    assert (await repo.apply()).run is None
    assert service.requests()[GET] == (3 if ledger == "store" else 1)
    service.clear_requests()
    assert changes(await repo.plan(deep=True)) == []
    assert changes(await repo.plan()) == []
    assert service.requests().get(GET, 0) == (1 if ledger == "store" else 0)
    assert service.value("web", "json") == b'{\n  "b": 1,\n  "a": [1, 2]\n}'


async def test_labels_go_into_keys(tmp_path: Path, service: Service) -> None:
    """With a key format that holds the label, labelled entries are entries of their own, and nothing else is touched."""
    repo = Repo(tmp_path / "repo", service, "store", extra='    key_format: "{label}.{key}"\n')
    service.put("web", "elsewhere", b"foreign")
    await repo.settle({"theme": "{value: light, labels: {prod: dark}}"})
    assert service.values("web") == {".theme": b"light", "prod.theme": b"dark", "elsewhere": b"foreign"}
    assert changes(await repo.plan()) == []


async def test_what_the_store_cannot_hold_is_reported_offline(repo: Repo, service: Service) -> None:
    """Labels without a key format, keys with other characters, tags, metadata and kvsync's own key are found by `validate`, all
    at once and before anything is sent."""
    repo.want(
        {
            "theme": "{value: light, labels: {prod: dark}}",
            "a/b": "1",
            "t": "{value: x, tags: {a: b}}",
            "m": "{value: x, metadata: {a: 1}}",
            LEDGER: "x",
            "..": "1",
            "k" * 257: "1",
        }
    )
    result = repo.command("validate")
    assert result.returncode == 78
    for words in (
        "key_format",
        "a/b",
        "does not support tags",
        "does not support metadata",
        "the ledger of kvsync",
        "stores cannot",
        "at most 256",
    ):
        assert words in result.stderr
    assert service.total() == 0


# -- what it costs ----------------------------------------------------------------------------------------------------


@BOTH
async def test_changes_cost_no_more_than_they_must(repo: Repo, service: Service, ledger: str) -> None:
    """A plan of 1,200 records takes two pages and the ledger; changing 5 and deleting 5 takes a look before and after each
    write, and the reads that show what is there; the plan says what it will cost."""
    service.fill("web", 1180)
    await repo.settle(many(20))
    repo.want(many(5, "new") + "".join(many(15).splitlines(keepends=True)[5:]))
    # The ledger is read with the listing, and read and written before the updates and after all.
    left = {GET: 3, PUT: 2} if ledger == "store" else {}
    plan = await repo.plan(writing="test")
    assert (len(plan.changes), plan.cost.requests) == (10, 30 + (4 if left else 0))
    service.clear_requests()
    assert set(outcomes(await repo.apply()).values()) == {"applied"}
    assert service.requests() == {
        FIND: 2,  # where the name leads: to plan, and once more right before the first write
        KEYS: 2,
        GET: 10 + 10 + 10 + left.get(GET, 0),
        PUT: 5 + left.get(PUT, 0),
        DELETE: 5,
    }


async def test_a_large_batch_is_checked_and_verified_as_a_whole(repo: Repo, service: Service) -> None:
    """Many creates take a write each, one listing before all of them and one ZIP after them; many updates two ZIPs, and one
    read each, which shows in the plan what is there and is not repeated."""
    repo.clock = FakeClock(float(int(time.time())))
    repo.want(many(80))
    assert set(outcomes(await repo.apply()).values()) == {"applied"}
    assert service.requests() == {FIND: 2, KEYS: 2, PUT: 80, ZIP: 1}
    repo.want(many(80, "w"))
    service.clear_requests()
    assert set(outcomes(await repo.apply()).values()) == {"applied"}
    assert service.requests() == {FIND: 2, KEYS: 1, GET: 80, PUT: 80, ZIP: 2}


async def test_a_large_batch_overwrites_nothing_that_changed(repo: Repo, service: Service) -> None:
    """Records that another program made, changed or deleted since the plan stay as they are, among many that are written."""
    repo.clock = FakeClock(float(int(time.time())))
    await repo.settle({"going": "1"} | {f"old-{number}": "1" for number in range(40)})
    repo.want({f"old-{number}": "2" for number in range(40)} | {f"new-{number}": "2" for number in range(40)})

    def interfere() -> None:
        service.put("web", "old-1", b"3")
        service.put("web", "new-1", b"3")
        service.put("web", "going", b"3")
        service.delete("web", "old-2")

    found = outcomes(await repo.apply(interfere))
    refused = {key: found.pop(key) for key in ("old-1", "new-1", "going", "old-2")}
    assert set(refused.values()) == {"conflict"}
    assert set(found.values()) == {"applied"}
    held = service.values("web")
    assert [held.get(key) for key in ("old-1", "new-1", "going", "old-2")] == [b"3", b"3", b"3", None]
    assert service.requests()[ZIP] == 2


async def test_the_plan_says_what_is_not_promised(repo: Repo) -> None:
    """A plan for a store without compare-and-set says so."""
    repo.want({"a": "1"})
    target = await repo.plan()
    assert "apify has no compare-and-set" in render_plan(Plan("team-a", (target,), ""))


# -- promises 2 and 5: other writers ----------------------------------------------------------------------------------


@BOTH
async def test_what_changed_since_the_plan_is_not_overwritten(repo: Repo, service: Service, ledger: str) -> None:
    """What another program made, changed (also to the same size) or deleted between plan and apply stays as it is."""
    await repo.settle({"changed": "1", "typed": "1", "gone": "1", "fine": "1", "going": "1"})
    repo.want({"changed": "2", "typed": "2", "gone": "2", "fine": "2", "new": "2"})

    def interfere() -> None:
        service.put("web", "changed", b"3")
        service.put("web", "typed", b"1", "text/html")
        service.put("web", "going", b"4")
        service.put("web", "new", b"5")
        service.delete("web", "gone")

    found = outcomes(await repo.apply(interfere))
    assert found.pop("fine") == "applied"
    assert set(found.values()) == {"conflict"}
    assert service.values("web") == {"changed": b"3", "typed": b"1", "new": b"5", "fine": b"2", "going": b"4"}


@BOTH
async def test_an_edit_of_the_same_size_is_found_by_a_deep_pass(repo: Repo, service: Service, ledger: str) -> None:
    """A foreign edit that leaves the size as it was is not seen in a listing, and is found and healed by a deep pass, which
    reads one ZIP and the edited records."""
    await repo.settle({"a": "1234", "b": "2", "secret": "{env: API_TOKEN}"})
    service.put("web", "a", b"4321")
    service.put("web", "secret", b"very-public-token")
    assert changes(await repo.plan()) == []
    service.clear_requests()
    assert changes(await repo.plan(deep=True)) == [("update", "drifted", "a"), ("update", "drifted", "secret")]
    assert service.requests() == {FIND: 1, ZIP: 1, GET: 2}
    await repo.apply(deep=True)
    assert service.values("web") == {"a": b"1234", "b": b"2", "secret": b"very-secret-token"}
    assert changes(await repo.plan(deep=True)) == []


async def test_an_edit_of_the_same_size_is_healed_within_deep_every(repo: Repo, service: Service) -> None:
    """A daemon finds and heals a foreign edit that left the size as it was at the next deep beat; nobody has to ask for it."""
    repo.want({"a": "1234"})
    with (repo.root / "kvsync.yaml").open("a") as file:
        file.write("run: {every: 1h, deep_every: 1s, watch: false}\n")
    async with process(repo.root, **repo.environ()) as daemon:
        await daemon.logged("daemon.ready")
        service.put("web", "a", b"4321")
        await daemon.logged("drift.detected", key="a")
        await until(lambda: service.value("web", "a") == b"1234")
    assert service.requests()[ZIP] >= 1


async def test_foreign_entries_are_left_alone(repo: Repo, service: Service) -> None:
    """Entries that are not in the ledger are neither deleted nor changed by whatever we do next to them."""
    service.put("web", "foreign", b"\xff\x00", "image/png")
    service.put("web", "theirs", b"1")
    await repo.settle({"a": "1", "b": "1"})
    repo.want({"a": "2", "theirs": "2"}, "absent: [foreign]\n")
    plan = await repo.plan()
    assert {one.identity.key for one in plan.refused} == {"foreign", "theirs"}
    await repo.apply()
    assert service.record("web", "foreign") == (b"\xff\x00", "image/png")
    assert service.values("web") == {"a": b"2", "foreign": b"\xff\x00", "theirs": b"1"}


async def test_scope_prunes_what_is_nobodys(tmp_path: Path, service: Service) -> None:
    """With `prune: scope` foreign entries go, but not one that changed since the plan, and never another machine's ledger."""
    policy = "{prune: scope, guard: {max_delete_pct: 100}}"
    repo = Repo(tmp_path / "repo", service, policy=policy)
    service.put("web", "foreign", b"1")
    service.put("web", "edited", b"1")
    service.put("web", LEDGER, b"{}", "application/json")
    repo.want({"a": "1"})
    found = outcomes(await repo.apply(lambda: service.put("web", "edited", b"2")))
    assert found == {"a": "applied", "foreign": "applied", "edited": "conflict"}
    assert set(service.keys("web")) == {"a", "edited", LEDGER}


@BOTH
async def test_a_listing_that_breaks_off_deletes_nothing(repo: Repo, service: Service, ledger: str) -> None:
    """When pages of a listing cannot be had nothing is deleted, whatever is missing in it; the next pass goes on."""
    service.fill("web", 1000)
    await repo.settle(many(30))
    repo.want(many(25))
    for fault in ("500:0.9", "cut:0.9", "429:0.9", "drop:0.9"):
        await break_off(repo, service, fault)
        assert len(set(service.keys("web")) - {LEDGER}) == 1030
    await repo.converge()
    assert len(set(service.keys("web")) - {LEDGER}) == 1025


async def break_off(repo: Repo, service: Service, fault: str) -> None:
    """Let a listing break off after its first page, and apply what is planned by it, with all the approval there is."""
    async with repo.open() as workspace:
        await apply_broken_listing(workspace, service, fault, methods=["GET"])


async def test_a_namespace_that_is_deleted_is_not_an_empty_store(repo: Repo, service: Service) -> None:
    """A store deleted between plan and apply, or before the plan, is an error; nothing is made in its place."""
    await repo.settle({"a": "1", "b": "1"})
    repo.want({"a": "2", "b": "1"})
    report = await repo.apply(lambda: service.remove("web"))
    assert "applied" not in outcomes(report).values()
    assert "there is no key-value store" in (report.targets[0].error or "")
    plan = await repo.plan()
    assert 'no key-value store "web"' in (plan.error or "")
    assert plan.changes == ()
    assert service.names() == []


@BOTH
async def test_a_namespace_may_be_made(tmp_path: Path, service: Service, ledger: str) -> None:
    """With create_namespaces the first apply makes the store, and a plan alone does not."""
    repo = Repo(tmp_path / "repo", service, ledger, extra="    create_namespaces: true\n")
    service.remove("web")
    repo.want({"a": "1"})
    assert changes(await repo.plan()) == [("create", "new", "a")]
    assert service.names() == []
    assert outcomes(await repo.apply()) == {"a": "applied"}
    assert service.names() == ["web"]
    assert changes(await repo.plan()) == []


@BOTH
async def test_two_names_of_a_namespace_that_is_still_to_be_made(tmp_path: Path, service: Service, ledger: str) -> None:
    """Only once it is made is it seen that both lead to one place: the second to come is not written, and then neither is."""
    repo = Repo(tmp_path / "repo", service, ledger, extra="    create_namespaces: true\n")
    me = service.api("GET", f"/{service.ids['web']}")["data"]["username"]
    service.remove("web")
    twin = (repo.root / "kvsync.yaml").read_text().partition("  scraper:\n")[2]
    with (repo.root / "kvsync.yaml").open("a") as config:
        config.write(f"  twin:\n{twin}    username: {me}\n")
    repo.want({"a": "1"})
    (repo.root / "state/twin.yaml").write_text("store: twin\nnamespace: web\nkeys: {b: '1'}\n")
    report = await repo.apply()
    assert sorted(outcomes(report).values()) == ["applied", "not-attempted"]
    (error,) = (target.error for target in report.targets if target.error)
    assert "resolve to the same place" in error
    assert "scraper/web (kvsync.yaml:7:5) and twin/web (kvsync.yaml:13:5)" in error
    plan = (await repo.plan_all()).targets[0]
    assert plan.parked != ()


# -- the ledger -------------------------------------------------------------------------------------------------------


async def test_a_lost_ledger_loses_nothing(repo: Repo, service: Service) -> None:
    """Without a ledger nothing is deleted; equal entries are adopted without a write, different ones are reported."""
    await repo.settle({"same": "1", "differs": "1", "old": "1", "secret": "{env: API_TOKEN}"})
    repo.forget()
    repo.want({"same": "1", "differs": "2", "secret": "{env: API_TOKEN}"})
    plan = await repo.plan()
    assert changes(plan) == [("adopt", "unowned", "same"), ("adopt", "unowned", "secret")]
    assert [(one.cause.value, one.identity.key) for one in plan.refused] == [("unowned", "differs")]
    assert plan.foreign == 1
    service.clear_requests()
    await repo.apply()
    assert not {PUT, DELETE} & set(service.requests())
    assert service.values("web") == {"same": b"1", "differs": b"1", "old": b"1", "secret": b"very-secret-token"}
    assert changes(await repo.plan()) == []


async def test_a_fresh_checkout_finds_the_ledger_in_the_store(tmp_path: Path, service: Service) -> None:
    """A machine that was never here knows from the store's ledger what is ours: it plans nothing where nothing is to do,
    without writing anything, and deletes what is no longer asked for; not what it cannot compare, for want of an owner key."""
    first = Repo(tmp_path / "one", service, "store")
    await first.settle(EVERYTHING)
    second = first.elsewhere(tmp_path / "two")
    service.clear_requests()
    for deep in (False, True):
        assert changes(await second.plan(deep=deep)) == []
    assert not {PUT, DELETE} & set(service.requests())
    second.want({"plain": "Hello"})
    report = await second.apply()
    (secret,) = [one for one in report.plan.targets[0].refused if one.identity.key == "secret"]
    assert "set owner_key on all machines" in secret.reason
    found = outcomes(report)
    assert (found.pop("kept"), found.pop("secret")) == ("refused", "refused")
    assert set(found.values()) == {"applied"}
    assert set(service.values("web")) == {"plain", "kept", "secret"}


async def test_two_machines_take_turns(tmp_path: Path, service: Service) -> None:
    """Two machines with one ledger in the store see each other's work as their own: nothing is drift, nothing written twice."""
    first = Repo(tmp_path / "one", service, "store")
    await first.settle({"a": "1", "b": "1", "secret": "{env: API_TOKEN}"})
    second = first.elsewhere(tmp_path / "two")
    for number, machine in enumerate((second, first, second, first), 2):
        for one in (first, second):
            one.want({"a": str(number), "b": "1", "secret": "{env: API_TOKEN}", f"only-{number}": "1"})
        found = outcomes(await machine.apply())
        old = {f"only-{number - 1}": "applied"} if number > 2 else {}
        assert found == {"a": "applied", f"only-{number}": "applied"} | old
        service.clear_requests()
        for one in (first, second):
            for deep in (False, True):
                assert changes(await one.plan(deep=deep)) == []
            assert (await one.apply()).run is None
        assert not {PUT, DELETE} & set(service.requests())


async def test_a_damaged_ledger_deletes_nothing(repo: Repo, tmp_path: Path, service: Service) -> None:
    """A ledger in the store that someone cut or overwrote counts as lost: nothing is deleted by a machine that has no other,
    and one that has writes it again; doctor says so."""
    first = Repo(tmp_path / "one", service, "store")
    await first.settle({"a": "1", "b": "1"})
    whole = service.value("web", LEDGER)
    assert whole is not None
    service.put("web", LEDGER, whole[: len(whole) // 2], "application/json")
    assert "ledger" in first.command("doctor").stdout
    second = first.elsewhere(tmp_path / "two")
    second.want({"a": "1"})
    assert changes(await second.plan()) == [("adopt", "unowned", "a")]
    assert changes(await first.plan()) == []
    await first.apply()
    assert changes(await second.plan()) == [("delete", "removed", "b")]


async def test_the_ledger_tells_no_secret(tmp_path: Path, service: Service) -> None:
    """The ledger in the store holds neither a sensitive value nor its plain fingerprint."""
    from kvsync.model.canonical import fingerprint
    from kvsync.model.entry import Content

    repo = Repo(tmp_path / "repo", service, "store")
    await repo.settle({"secret": "{env: API_TOKEN}", "plain": "1"})
    text = (service.value("web", LEDGER) or b"").decode()
    assert "very-secret-token" not in text
    assert fingerprint(Content(b"very-secret-token")).hex() not in text


# -- faults -----------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "fault",
    one_and_more(
        "429:0.1,500:0.1,drop-after-write:0.2,cut:0.05",
        "429:0.4",
        "500:0.3",
        "500-after-write:0.4",
        "drop:0.3",
        "drop-after-write:0.4",
        "cut:0.3",
        "400:0.3",
    ),
)
async def test_whatever_goes_wrong_the_next_runs_converge(
    tmp_path: Path, service: Service, fault: str, ledger: str
) -> None:
    """Through every kind of fault the store comes to hold what the files ask, and foreign entries stay as they are."""
    policy = "{prune: owned, guard: {max_delete_pct: 100, max_update_pct: 100}}"
    repo = Repo(tmp_path / "repo", service, ledger, policy=policy)
    service.put("web", "foreign", b"\xff\x00", "image/png")
    await repo.settle(many(30, "old"))
    wanted = {f"key-{number:05}": b"new%d" % number for number in range(10, 40)}
    repo.want("".join(many(40, "new").splitlines(keepends=True)[10:]))
    service.faults(fault, seed=5)
    for deep in (False, True, False, True):
        async with repo.open() as workspace:
            plan = await workspace.plan(TargetSelection(ask=PassOptions(deep=deep)))
            await workspace.apply(plan, command="test")
    service.faults("")
    repo.want("".join(many(40, "new").splitlines(keepends=True)[10:]) + "  last: 1\n")
    await repo.converge()
    values = service.values("web")
    missing = wanted.keys() - values.keys()
    assert {key: value for key, value in values.items() if key in wanted} == {
        key: value for key, value in wanted.items() if key not in missing
    }
    assert not missing or fault == "400:0.3"  # quarantined, and tried again later
    assert service.record("web", "foreign") == (b"\xff\x00", "image/png")


async def test_what_the_api_does_not_take_fails_alone(tmp_path: Path) -> None:
    """A record that the API refuses fails on its own and waits until it changes; all others are written."""
    with Service.serve(switches={"largest-record": "5000"}) as service:
        service.reset("web")
        repo = Repo(tmp_path / "repo", service)
        repo.want(many(10) + f"  large: {'x' * 6000}\n")
        found = outcomes(await repo.apply())
        assert found.pop("large") == "failed"
        assert set(found.values()) == {"applied"}
        plan = await repo.plan()
        assert changes(plan) == []
        assert [one.identity.key for one in plan.refused] == ["large"]
        repo.want(many(10) + "  large: small\n")
        assert outcomes(await repo.apply()) == {"large": "applied"}


async def test_the_rate_of_the_api_is_kept(tmp_path: Path) -> None:
    """Where the API allows few requests a second and says so, kvsync slows down and everything is written."""
    with Service.serve(switches={"rate": "40/20"}) as service:
        service.reset("web")
        repo = Repo(tmp_path / "repo", service)
        repo.clock = clock = SharedClock(service)
        started = clock.now()
        repo.want(many(180))
        assert set(outcomes(await repo.apply()).values()) == {"applied"}
        assert clock.now() - started >= (180 - 40) / 40
        assert len(service.keys("web")) == 180


@BOTH
async def test_a_kill_in_the_middle_loses_nothing(repo: Repo, service: Service, ledger: str) -> None:
    """Killed while it writes, the next run brings the store to what the files ask, and foreign entries stay as they are."""
    service.put("web", "foreign", b"1")
    repo.want(many(150))
    await asyncio.to_thread(kill_while_writing, repo, 40)
    assert 0 < len(set(service.keys("web"))) <= 152
    repo.want(many(140))
    await repo.converge()
    assert set(service.keys("web")) - {LEDGER} == {f"key-{number:05}" for number in range(140)} | {"foreign"}
    assert changes(await repo.plan()) == []


# -- time -------------------------------------------------------------------------------------------------------------


@BOTH
async def test_ttls_over_virtual_days(repo: Repo, service: Service, ledger: str) -> None:
    """Over days of passes an entry with a TTL is never absent, and renewed in the ledger alone; one that is to end ends, and is
    not made again."""
    repo.clock = clock = SharedClock(service)
    repo.want(
        {
            "day": "{value: d, ttl: 24h}",
            "hours": "{value: h, ttl: 3h, renew_before: 45m}",
            "once": "{value: o, ttl: 6h, renew_before: 0s}",
            "stays": "s",
        }
    )
    await repo.apply()
    started = clock.now()
    seen: set[tuple[str, str, str]] = set()
    for _ in range(2 * 24):
        clock.advance(HOUR)
        seen |= set(changes((await repo.apply()).plan.targets[0]))
        held = service.values("web")
        assert {"day", "hours", "stays"} <= set(held)
        assert ("once" in held) is (clock.now() - started < 6 * HOUR)
    assert seen == {("renew", "expiring", "day"), ("renew", "expiring", "hours"), ("delete", "expired", "once")}


# -- secrets, and the way back ----------------------------------------------------------------------------------------


@BOTH
async def test_no_secret_leaves_but_to_the_store(repo: Repo, service: Service, ledger: str) -> None:
    """Neither the token, nor the signing secret of the store, nor a sensitive value is in any output or in the state directory,
    also when things go wrong."""
    repo.want({"a": "1", "secret": "{env: API_TOKEN}", "binary": '{base64: "/w=="}'})
    signing = service.api("GET", f"/{service.ids['web']}")["data"]["urlSigningSecretKey"]
    texts = []
    apply = ("apply", "--yes", "-o", "json")
    explain = ("explain", "secret", "-o", "json")
    for fault, command in (("401:1", apply), ("402:1", apply), ("", apply), ("", explain), ("401:1", ("doctor",))):
        service.faults(fault, times=2)
        result = repo.command("--log-level", "debug", *command)
        texts += [result.stdout, result.stderr]
    texts += [file.read_bytes().decode("latin-1") for file in (repo.root / ".kvsync").rglob("*") if file.is_file()]
    service.faults("")
    assert service.value("web", "secret") == b"very-secret-token"
    digest = whole(17, b"very-secret-token", None).split("-")[1]
    for secret in (service.token, "very-secret-token", signing, digest):
        assert not any(secret in text for text in texts)


async def test_an_explanation_tells_no_version_of_a_secret(repo: Repo, service: Service) -> None:
    """`explain` shows the version of an entry, which is made of its size and value, but of a sensitive one none at all."""
    await repo.settle({"plain": "1234567", "secret": "{env: API_TOKEN}"})
    plain = json.loads(repo.command("explain", "plain", "-o", "json").stdout)["entries"][0]
    secret = json.loads(repo.command("explain", "secret", "-o", "json").stdout)["entries"][0]
    assert plain["actual"]["etag"] == plain["applied"]["etag"] == whole(7, b"1234567", None)
    assert (secret["actual"]["etag"], secret["applied"]["etag"]) == (None, None)


@BOTH
async def test_dump_and_plan_agree(repo: Repo, service: Service, ledger: str) -> None:
    """What is dumped asks for exactly what the store holds, and the ledger is not in it."""
    entries = {key: value for key, value in EVERYTHING.items() if key not in ("secret", "minute")}
    service.put("web", "foreign", b"\r\n \xc3\xa9", "text/csv")
    service.put("web", "foreign-binary", b"\x00\xff", "image/png")
    service.put("web", "foreign-json", b'{ "a": 1 }', "application/json; charset=utf-8")
    await repo.settle(entries)
    before = service.values("web")
    (repo.root / "state/web.yaml").unlink()
    result = repo.command("dump", "scraper/web", "--to", str(repo.root / "state"))
    assert result.returncode == 0, result.stderr
    assert LEDGER not in "".join(file.read_text() for file in (repo.root / "state").rglob("*.yaml"))
    plan = await repo.plan()
    assert {one.action.value for one in plan.changes} == {"adopt"}, changes(plan)
    await repo.apply()
    assert changes(await repo.plan(deep=True)) == []
    assert service.values("web") == before


@BOTH
async def test_a_run_is_taken_back(repo: Repo, service: Service, ledger: str) -> None:
    """`undo` brings back values and content types that a run had changed or deleted."""
    await repo.settle({"a": "1", "b": '{base64: "/w=="}', "c": "1", "html": "{value: x, content_type: text/html}"})
    before = {key: service.record("web", key) for key in service.values("web")}
    repo.want({"a": "2", "c": "1", "html": "y"})
    report = await repo.apply()
    assert set(outcomes(report).values()) == {"applied"}
    assert report.run is not None
    result = repo.command("undo", report.run, "--yes")
    assert result.returncode == 0, result.stderr + result.stdout
    assert {key: service.record("web", key) for key in service.values("web")} == before


async def test_the_configuration_is_checked(repo: Repo, service: Service) -> None:
    """Options that make no sense are reported with their place, all at once, before anything is sent."""
    file = repo.root / "kvsync.yaml"
    file.write_text(file.read_text().replace("ledger: local", "ledger: lokal\n    username: a/b\n    tokn: x"))
    result = repo.command("validate")
    assert result.returncode == 78
    for words in ("ledger", 'did you mean "local"', "username", '"tokn"', "kvsync.yaml:10:"):
        assert words in result.stderr
    assert service.total() == 0


def test_the_type_is_listed() -> None:
    """`kvsync stores` shows what the store can do."""
    result = run_command(["stores", "-o", "json"], Path.cwd(), code=0)
    (found,) = (one for one in json.loads(result.stdout)["stores"] if one["type"] == "apify")
    assert (found["compare_and_set"], found["values_in_listing"], found["marks"], found["lifetimes"]) == (
        False,
        False,
        "ledger",
        "emulated",
    )


EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "apify"


def test_the_example_works(service: Service, tmp_path: Path) -> None:
    """examples/apify is applied to a fresh account as it stands, and a second run, and another machine, find nothing to do."""
    service.reset()
    for name in ("one", "two"):
        shutil.copytree(EXAMPLE, tmp_path / name, ignore=shutil.ignore_patterns(".kvsync"))
        config = tmp_path / name / "kvsync.yaml"
        config.write_text(config.read_text().replace("http://127.0.0.1:8788", service.url))

    def run(name: str, *arguments: str) -> str:
        words = ["-c", str(tmp_path / name / "kvsync.yaml"), *arguments]
        return run_command(words, tmp_path, os.environ | service.env, code=0).stdout

    run("one", "validate")
    run("one", "apply", "--yes")
    assert service.names() == ["crawler-settings"]
    run("one", "plan", "--exit-code", "--deep")
    run("two", "plan", "--exit-code")
    assert len(json.loads(run("one", "--env", "prod", "plan", "-o", "json"))["targets"][0]["changes"]) == 1
