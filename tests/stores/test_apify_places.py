"""Places of Apify: what is ours in a key-value store, whatever its name, its endpoint or the account behind the token is by
now."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kvsync.app import TargetSelection
from kvsync.config.model import Credential, CredentialKind, StoreConfig
from kvsync.errors import PermanentError, TransientError
from kvsync.model.entry import Content, Identity, Mark, Target
from kvsync.model.place import Place, overlaps
from kvsync.stores.apify import ApifyStore
from kvsync.stores.base import Precondition, Store, StoreContext, Write
from kvsync.stores.extensions import locate
from kvsync.stores.ledger_place import LedgerPlace
from kvsync.testing import FakeClock
from tests.http.script_server import says, serving
from tests.stores.apify_repo import Repo
from tests.stores.apify_service import Bare, Service, apify_store
from tests.stores.emulated import FREELY, changes, outcomes

Open = Callable[..., Store]
FIND, MAKE, KEYS = "GET /{storeId}", "POST /", "GET /{storeId}/keys"
GET, PUT, DELETE = (f"{method} /{{storeId}}/records/{{recordKey}}" for method in ("GET", "PUT", "DELETE"))


@pytest.fixture
def repo(tmp_path: Path, service: Service) -> Repo:
    return Repo(tmp_path / "repo", service, policy=FREELY)


def rename(service: Service, name: str, new: str) -> None:
    """Give a store another name."""
    id_ = service.ids.pop(name)
    service.api("PUT", f"/{id_}", {"name": new})
    service.ids[new] = id_


def creation(key: str) -> Write:
    return Write(Identity(key), Precondition.ABSENT, Content(b"v"), Mark("us", b"f" * 16))


# -- offline ----------------------------------------------------------------------------------------------------------


def offline(
    name: str = "web",
    token: str = "APIFY_TOKEN",
    key_format: str = "{key}",
    endpoint: str | None = None,
    **options: Any,
) -> Place:
    given = {"token": Credential(CredentialKind.ENV, token), "ledger": LedgerPlace.LOCAL} | options
    config = StoreConfig("scraper", "apify", given, endpoint=endpoint, key_format=key_format)
    return ApifyStore(config, StoreContext(Path(), None, lambda _: "", FakeClock())).place(name)


@pytest.mark.parametrize(
    ("one", "other", "is_equal"),
    [
        (offline(), offline(endpoint="https://API.apify.com:443/v2/"), True),
        (offline(), offline(token="OTHER_TOKEN"), False),
        (offline(username="jane"), offline(token="OTHER_TOKEN", username="jane"), True),
        (offline("jane~web"), offline(username="jane"), True),
        (offline(), offline("other"), False),
        (offline(), offline(endpoint="http://127.0.0.1:8788"), False),
        (offline(), offline(key_format="a.{key}"), True),
        (offline(key_format="a.{key}"), offline(key_format="b.{key}"), False),
        (offline(key_format="a.{key}"), offline(key_format="b.{key}", ledger=LedgerPlace.STORE), True),
    ],
)
def test_what_the_configuration_tells_of_a_place(one: Place, other: Place, is_equal: bool) -> None:
    """Offline, two targets meet for certain when endpoint, user and name are the same and their keys may be; where a ledger
    is in the store, whatever their keys are."""
    assert not one.is_resolved
    assert bool(overlaps({Target("a", "x"): one, Target("b", "y"): other})) is is_equal


def test_two_targets_on_one_store_are_found_offline(repo: Repo, service: Service) -> None:
    """`validate` finds two stores of the configuration that lead to the same key-value store, without asking."""
    config = repo.root / "kvsync.yaml"
    config.write_text(
        config.read_text() + f"  again: {{type: apify, token: {{env: APIFY_TOKEN}}, endpoint: '{service.url}/v2'}}\n"
    )
    repo.want({"a": "1"})
    (repo.root / "state/again.yaml").write_text("store: again\nnamespace: web\nkeys: {b: 1}\n")
    result = repo.command("validate")
    assert result.returncode == 78
    assert "again/web" in result.stderr
    assert "scraper/web" in result.stderr
    assert service.total() == 0


# -- by the server ----------------------------------------------------------------------------------------------------


async def test_all_ways_to_a_store_are_one_place(service: Service, connect: Open) -> None:
    """Name, id, name with the user, and another spelling of the endpoint resolve to the same place, which says whose it is."""
    store = service.api("GET", f"/{service.ids['web']}")["data"]
    found = await locate(connect(), "web")
    assert found.parts == (("user", store["userId"]), ("store", store["id"]))
    assert found.is_resolved
    assert found.detail == f"{store['username']}/web"
    port = service.url.rpartition(":")[2]
    for name in ("WEB", store["id"], f"{store['username']}~web"):
        assert await locate(connect(), name) == found
    assert await locate(connect(endpoint=f"http://LOCALHOST:{port}/v2/"), "web") == found
    assert (await locate(connect(ledger="store"), "web")).key == found.key


async def test_another_account_is_another_place(service: Service, connect: Open) -> None:
    """The same name under the token of another user, or on another server, is another place."""
    guest = connect(token=f"{service.token}-guest", options={"create_namespaces": True})
    places = [await locate(connect(), "web"), await locate(guest, "web", writing=True)]
    with Service.serve() as other:
        other.reset("web")
        store = apify_store(other, FakeClock())
        places.append(await locate(store, "web"))
        await store.aclose()
    assert len({place.key for place in places}) == 3


@pytest.mark.parametrize("name", ["web", None])
async def test_a_name_is_looked_up_once_a_minute(service: Service, connect: Open, name: str | None) -> None:
    """Looking costs one request a minute, right before a write one more; also where the namespace is an id."""
    clock = FakeClock()
    store, name = connect(clock=clock), name or service.ids["web"]
    first = 1 if name == "web" else 2  # it might be a name
    for seconds, count in ((0, first), (0, 0), (59, 0), (2, 1), (30, 0)):
        clock.advance(seconds)
        service.clear_requests()
        await locate(store, name)
        await store.observe(name, None)  # type: ignore[arg-type]  # nothing is signed in listings
        assert service.requests().get(FIND, 0) == count
    service.clear_requests()
    await locate(store, name, writing=True)
    await store.write(name, [creation("a")])
    assert service.requests() == {FIND: 1, PUT: 1}


@pytest.mark.parametrize("swap", ["renamed", "replaced"])
async def test_a_name_that_leads_elsewhere_is_noticed(service: Service, connect: Open, swap: str) -> None:
    """A store that was renamed, or deleted, and another one made under its name, is found: after a minute, and before a
    write at once."""
    for writing in (False, True):
        clock = FakeClock()
        store = connect(clock=clock)
        before = await locate(store, "web")
        if swap == "renamed":
            rename(service, "web", f"old-{'writing' if writing else 'reading'}")
        else:
            service.remove("web")
        service.ids["web"] = service.make("web")
        assert await locate(store, "web") == before
        clock.advance(0 if writing else 61)
        after = await locate(store, "web", writing=writing)
        assert after.parts[-1] == ("store", service.ids["web"])
        assert after.key != before.key
        await store.write("web", [creation("a")])
        assert set(service.keys("web")) == {"a"}
        service.delete("web", "a")


async def test_a_missing_store_is_made_right_before_it_is_written_to(service: Service, connect: Open) -> None:
    """Until then its place is not resolved; made, it is the place that everybody finds; and a second look for it costs
    nothing."""
    store = connect(options={"create_namespaces": True})
    before = await locate(store, "mail")
    assert not before.is_resolved
    assert before == store.place("mail")
    service.clear_requests()
    await locate(store, "mail")
    assert service.total() == 0
    made = await locate(store, "mail", writing=True)
    assert made.is_resolved
    assert made == await locate(connect(), "mail")
    with pytest.raises(PermanentError, match="there is no key-value store"):
        await locate(connect(), "post")
    assert service.names() == ["web", "mail"]


async def test_a_reader_makes_nothing(service: Service, connect: Open) -> None:
    """A connection that was opened for reading finds a missing store missing."""
    store = connect(options={"create_namespaces": True}, read_only=True)
    assert not (await locate(store, "mail", writing=True)).is_resolved
    assert service.names() == ["web"]


def _store(**fields: Any) -> bytes:
    return json.dumps({"data": {"id": "x" * 17, "name": "web", **fields}}).encode()


@pytest.mark.parametrize(
    ("id_", "user", "names"),
    [
        ("x" * 17, "u1", ["user", "store"]),
        ("x" * 17, None, ["store"]),
        ("17", "u1", ["endpoint", "user", "store"]),
        ("17", None, ["endpoint", "store"]),
    ],
)
async def test_a_look_alike_is_distinguished_from_others(
    connect: Open, id_: str, user: str | None, names: list[str]
) -> None:
    """A server that gives no user is located by what it gives; one that gives short ids, which another may give too, by its
    endpoint as well. No other call than that for the store is needed."""
    async with serving(says(200, _store(id=id_, **({"userId": user} if user else {})))) as server:
        place = await locate(connect(Bare(server.origin)), "web")
    assert [name for name, _ in place.parts] == names
    assert dict(place.parts)["store"] == id_
    assert dict(place.parts).get("endpoint", server.origin) == server.origin
    assert len(server.seen) == 1


async def test_a_store_that_is_made_is_the_one_that_is_found(connect: Open) -> None:
    """A server that says less of a store when it makes it than later gives it one place all the same."""
    missing = says(404, b'{"error": {"type": "record-not-found", "message": "Key-value Store was not found"}}')
    answers = (missing, says(201, _store()), says(200, _store(userId="u1")), says(200, _store(userId="u1")))
    async with serving(*answers) as server:
        store = connect(Bare(server.origin), options={"create_namespaces": True})
        made = await locate(store, "web", writing=True)
        assert await locate(store, "web", writing=True) == made


async def test_a_page_of_a_proxy_does_not_say_that_a_store_was_deleted(connect: Open) -> None:
    """Its 404 says nothing of the store."""
    empty = says(200, b'{"data": {"items": [], "isTruncated": false, "nextExclusiveStartKey": null, "count": 0}}')
    answers = (says(200, _store(userId="u1")), says(200, _store(userId="u1")), empty, says(404, b"<html>nothing here"))
    async with serving(*answers) as server:
        store = connect(Bare(server.origin), options={"create_namespaces": True})
        assert isinstance(store, ApifyStore)
        place = await locate(store, "web")
        with pytest.raises(TransientError, match="the response is not from this API"):
            await store.delete_namespace("web", place)


async def test_a_store_that_the_token_could_not_create_again_is_not_deleted(connect: Open) -> None:
    """It belongs to another user, who lets the token use it."""
    found, joe = says(200, _store(userId="u1")), says(200, b'{"data": {"id": "u9", "username": "joe"}}')
    async with serving(found, found, joe) as server:
        store = connect(Bare(server.origin), options={"create_namespaces": True, "username": "jane"})
        assert isinstance(store, ApifyStore)
        stays = await store.delete_namespace("web", await locate(store, "web"))
    assert (
        stays == "kvsync could not create it again: the token cannot create one of user jane, because it belongs to joe"
    )


# -- whole passes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ledger", ["local", "store"])
async def test_another_account_behind_the_name_keeps_its_records(tmp_path: Path, service: Service, ledger: str) -> None:
    """What the ledger knows of one account says nothing of the records of another one behind the same name; back at the first,
    everything is known again."""
    repo = Repo(tmp_path / "repo", service, ledger, policy=FREELY)
    await repo.settle({"alpha": "one", "beta": "two", "gamma": "three"})
    with Service.serve() as other:
        other.reset("web")
        for key in ("alpha", "beta"):
            other.put("web", key, f"precious {key}")
        config = repo.root / "kvsync.yaml"
        config.write_text(config.read_text().replace(service.url, other.url))
        repo.service = other
        repo.want({"alpha": "one", "gamma": "three"})
        report = await repo.apply()
        plan = report.plan.targets[0]
        assert plan.moved_from is not None
        assert service.ids["web"] in plan.moved_from
        assert changes(plan) == [("create", "new", "gamma")]
        assert [one.identity.key for one in plan.refused] == ["alpha"]
        assert other.values("web") == {"alpha": b"precious alpha", "beta": b"precious beta", "gamma": b"three"}
        config.write_text(config.read_text().replace(other.url, service.url))
        repo.service = service
    plan = await repo.plan()
    assert changes(plan) == [("delete", "removed", "beta")]


@pytest.mark.parametrize("swap", ["renamed", "replaced", "gone"])
async def test_nothing_is_written_by_the_old_id(repo: Repo, service: Service, swap: str) -> None:
    """A store that is swapped between plan and apply is not written to, nor is its successor: the next pass plans for that."""
    await repo.settle({"a": "1", "b": "1"})
    repo.want({"a": "2"})
    async with repo.open() as workspace:
        plan = await workspace.plan(TargetSelection())
        old = service.ids["web"]
        if swap == "renamed":
            rename(service, "web", "old")
        else:
            service.remove("web")
        if swap != "gone":
            service.ids["web"] = service.make("web")
            service.put("web", "b", "theirs")
        service.clear_requests()
        report = await workspace.apply(plan, command="test")
        assert set(outcomes(report).values()) == {"not-attempted"}
        assert report.targets[0].error
        assert not {PUT, DELETE} & set(service.requests())
        if swap == "gone":
            return
        assert "changed its place after the plan was made" in report.targets[0].error
        plan = await workspace.plan(TargetSelection())
        assert changes(plan.targets[0]) == [("create", "new", "a")]
        await workspace.apply(plan, command="test")
    assert service.values("web") == {"a": b"2", "b": b"theirs"}
    if swap == "renamed":
        assert service.values("old") == {"a": b"1", "b": b"1"}
        assert service.ids["old"] == old


async def test_a_store_that_is_renamed_back_is_known(repo: Repo, service: Service) -> None:
    """A renamed store is the same place under its new name once the files name that, and nothing is written again."""
    await repo.settle({"a": "1", "b": "1"})
    rename(service, "web", "site")
    state = repo.root / "state/web.yaml"
    state.write_text(state.read_text().replace("namespace: web", "namespace: site").replace("  b: 1\n", ""))
    assert changes(await repo.plan()) == [("delete", "removed", "b")]


async def test_a_name_and_an_id_are_parked(tmp_path: Path, service: Service) -> None:
    """Two targets that lead to one key-value store, by name and by id, are both parked, and the plan names both."""
    repo = Repo(tmp_path / "repo", service, policy=FREELY)
    repo.want({"a": "1"})
    (repo.root / "state/id.yaml").write_text(f"store: scraper\nnamespace: {service.ids['web']}\nkeys: {{b: 1}}\n")
    async with repo.open() as workspace:
        plan = await workspace.plan(TargetSelection())
        await workspace.apply(plan, command="test", approvals=[plan.digest])
    for target in plan.targets:
        (reason,) = target.parked
        assert "scraper/web" in reason
        assert f"scraper/{service.ids['web']}" in reason
    assert service.values("web") == {}


@pytest.mark.parametrize(("ledger", "is_parked"), [("local", False), ("store", True)])
async def test_two_key_formats_share_a_store_without_its_ledger(
    tmp_path: Path, service: Service, ledger: str, is_parked: bool
) -> None:
    """Two targets with different key prefixes may share a key-value store, unless its one ledger would be written by both."""
    repo = Repo(tmp_path / "repo", service, ledger, extra='    key_format: "a.{key}"\n')
    config = repo.root / "kvsync.yaml"
    text = config.read_text()
    other = text.partition("stores:\n")[2].replace("scraper", "other", 1).replace("a.{", "b.{")
    config.write_text(text + other)
    repo.want({"x": "1"})
    (repo.root / "state/other.yaml").write_text("store: other\nnamespace: web\nkeys: {x: 2}\n")
    if is_parked:
        assert repo.command("validate").returncode == 78
        assert "set ledger: local" in repo.command("plan").stderr
        return
    assert repo.command("apply", "--yes").returncode == 0
    assert service.values("web") == {"a.x": b"1", "b.x": b"2"}


async def test_a_ledger_that_is_due_is_not_left_in_another_store(tmp_path: Path, service: Service) -> None:
    """A pass that writes nothing but the ledger looks where the name leads first, too."""
    repo = Repo(tmp_path / "repo", service, "store", policy=FREELY)
    await repo.settle({"a": "1"})
    service.delete("web", "kvsync.ledger.json")
    async with repo.open() as workspace:
        plan = await workspace.plan(TargetSelection())
        rename(service, "web", "old")
        service.ids["web"] = service.make("web")
        report = await workspace.apply(plan, command="test")
    assert "changed its place after the plan was made" in (report.targets[0].error or "")
    assert service.keys("web") == {}
    assert "kvsync.ledger.json" not in service.keys("old")


async def test_a_namespace_that_fails_to_be_found_is_not_made(repo: Repo, service: Service) -> None:
    """A look-up that fails says nothing of the store: nothing is made, and the target's pass is an error."""
    config = repo.root / "kvsync.yaml"
    config.write_text(config.read_text() + "    create_namespaces: true\n")
    await repo.settle({"a": "1"})
    service.faults("500:1")
    plan = await repo.plan()
    service.faults("")
    assert plan.error is not None
    assert service.names() == ["web"]


async def test_a_store_that_is_missing_for_a_moment_is_known_again(repo: Repo, service: Service) -> None:
    """With `create_namespaces`, a name that leads nowhere for a moment is planned as a new store; found again right before
    the first write, it is the known one, and nothing of it is overwritten or forgotten."""
    config = repo.root / "kvsync.yaml"
    config.write_text(config.read_text() + "    create_namespaces: true\n")
    await repo.settle({"a": "1", "b": "1"})
    repo.want({"a": "2"})
    async with repo.open() as workspace:
        rename(service, "web", "away")
        plan = await workspace.plan(TargetSelection())
        assert changes(plan.targets[0]) == [("create", "new", "a")]
        rename(service, "away", "web")
        report = await workspace.apply(plan, command="test")
        assert outcomes(report) == {"a": "conflict"}
    assert service.values("web") == {"a": b"1", "b": b"1"}
    report = await repo.apply()
    assert outcomes(report) == {"a": "applied", "b": "applied"}
    assert service.values("web") == {"a": b"2"}


async def test_a_copied_store_is_foreign(tmp_path: Path, service: Service) -> None:
    """A store that was cloned, records and ledger, is not ours: equal entries are adopted, and nothing else is touched."""
    repo = Repo(tmp_path / "repo", service, "store", policy=FREELY)
    await repo.settle({"a": "1", "b": "1"})
    service.ids["clone"] = service.make("clone")
    for key in ("a", "b", "kvsync.ledger.json"):
        value, kind = service.record("web", key) or (b"", "")
        service.put("clone", key, value, kind)
    state = repo.root / "state/web.yaml"
    state.write_text(state.read_text().replace("namespace: web", "namespace: clone").replace("  b: 1\n", ""))
    report = await repo.apply()
    assert changes(report.plan.targets[0]) == [("adopt", "unowned", "a")]
    assert report.plan.targets[0].foreign == 1
    assert service.values("clone") == {"a": b"1", "b": b"1"}
