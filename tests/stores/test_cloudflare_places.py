"""Places and signed marks of Workers KV: what is ours in a namespace, whatever its title is by now."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvsync.app import TargetSelection
from kvsync.errors import PermanentError, TransientError
from kvsync.model.canonical import fingerprint
from kvsync.model.entry import Content, Identity, Mark
from kvsync.model.place import Place
from kvsync.planning.marks import MarkSigner, Proof
from kvsync.stores.base import Precondition, Store, Write, WriteStatus
from kvsync.stores.cloudflare_kv.listing import Entries, Listing
from kvsync.stores.extensions import locate
from kvsync.testing import FakeClock
from tests.http.script_server import says, serving
from tests.stores.cloudflare_repo import Repo
from tests.stores.cloudflare_service import TOKEN, Bare, Service, cloudflare_store
from tests.stores.emulated import FREELY, FastForwardClock, changes, outcomes
from tests.stores.signing import OWNER, signed, signer

Open = Callable[..., Store]
LIST, LOOK, KEYS = "GET /", "GET /{namespace_id}", "GET /{namespace_id}/keys"


@pytest.fixture
def repo(tmp_path: Path, service: Service) -> Repo:
    return Repo(tmp_path, service, policy=FREELY)


def creation(key: str, value: str = "v") -> Write:
    content = Content(value.encode())
    return Write(Identity(key), Precondition.ABSENT, content, Mark(OWNER, fingerprint(content)))


async def put(store: Store, key: str, value: str = "v", keys: tuple[bytes, ...] = ()) -> None:
    """Write an entry as kvsync does."""
    (result,) = await store.write("web", [signed(store, creation(key, value), keys=keys)])
    assert result.status is WriteStatus.DONE


def rename(service: Service, title: str, to: str) -> None:
    """Rename a namespace, as a person would."""
    service.api("PUT", f"/{service.ids[title]}", {"title": to})
    service.ids[to] = service.ids.pop(title)


def replace_namespace(service: Service) -> None:
    """Keep the namespace "web" under another title, and make a new one."""
    rename(service, "web", "web (old)")
    service.ids["web"] = service.make("web")


# What a place is


async def test_title_id_and_alias_are_one_place(service: Service, connect: Open) -> None:
    """A namespace is the place, whatever it is called: by its title, by its id, or by a name in namespace_ids."""
    store = connect(options={"namespace_ids": {"alias": service.ids["web"].upper()}})
    assert not store.place("web").is_resolved
    found = [await locate(store, name) for name in ("web", service.ids["web"], "alias")]
    assert found[0].parts == (("account", service.account), ("namespace", service.ids["web"]))
    assert [(place.key, place.is_resolved, place.detail) for place in found] == [(found[0].key, True, "web")] * 3
    assert store.place("alias").key == found[0].key
    other = connect(options={"account_id": service.account.upper(), "namespace_ids": {"alias": service.ids["web"]}})
    assert other.place("alias").key == found[0].key


async def test_a_namespace_that_is_to_be_made_has_no_place_yet(service: Service, connect: Open) -> None:
    """Looking makes nothing; right before writing the namespace is made, and the place is resolved."""
    store = connect(options={"create_namespaces": True})
    before = await locate(store, "new")
    assert not before.is_resolved
    assert service.titles() == ["web"]
    made = await locate(store, "new", writing=True)
    assert sorted(service.titles()) == ["new", "web"]
    assert made.is_resolved
    assert made == await locate(store, "new") == await locate(connect(), "new")


async def test_a_name_that_leads_nowhere_is_an_error(service: Service, connect: Open) -> None:
    """A title or id that does not exist is an error of locating, which says what to correct."""
    store = connect(options={"namespace_ids": {"prod": "f" * 32}})
    for writing in (False, True):
        with pytest.raises(PermanentError, match=r"no namespace f{32} in this account; correct namespace_ids\.prod"):
            await locate(store, "prod", writing=writing)
        with pytest.raises(PermanentError, match=r'no namespace "wep" in this account \(did you mean "web"'):
            await locate(store, "wep", writing=writing)


# What locating costs


async def test_locating_costs_a_call_a_minute(service: Service, connect: Open) -> None:
    """All names of an account with one page of namespaces take one call a minute together; before a write it is one more."""
    clock = FakeClock()
    service.make("mail")
    store = connect(clock=clock)
    for expected in ({LIST: 1}, {}, {}):
        service.clear_requests()
        for name in ("web", "mail"):
            await locate(store, name)
            await store.observe(name, signer(store, name))
        counts = service.requests()
        assert counts.pop(KEYS) == 2
        assert counts == expected
        clock.advance(25)
    clock.advance(10)
    service.clear_requests()
    await locate(store, "web")
    await locate(store, "mail")
    await locate(store, "web", writing=True)
    assert service.requests() == {LIST: 1, LOOK: 1}


async def test_one_name_among_many_costs_one_call(service: Service, connect: Open) -> None:
    """Where listing all namespaces takes more calls than looking at those that are used, they are looked at."""
    clock = FakeClock()
    for number in range(150):
        service.make(f"ns-{number:03}")
    store = connect(clock=clock)
    service.clear_requests()
    await locate(store, "web")
    clock.advance(61)
    await locate(store, "web")
    assert service.requests() == {LIST: 2, LOOK: 1}
    alias = connect(clock=clock, options={"namespace_ids": {"alias": service.ids["web"]}})
    service.clear_requests()
    await locate(alias, "alias")
    await locate(alias, "alias")
    assert service.requests() == {LOOK: 1}


async def test_pages_of_namespaces_that_repeat_end() -> None:
    """An account that lists the same page forever is an error, not an endless pass."""
    page = {"success": True, "errors": [], "result": [{"id": "1", "title": "a"}], "result_info": {"total_count": 9}}
    async with serving(*[says(200, json.dumps(page).encode())] * 3) as server:
        store = cloudflare_store(Bare(server.origin), FakeClock(), timeout=60)
        with pytest.raises(TransientError, match="the pages repeat"):
            await locate(store, "web")
        await store.aclose()


@pytest.mark.parametrize("last", [[], [{"id": "b" * 32, "title": "b"}]], ids=["empty", "known"])
async def test_namespaces_without_a_total_are_read_to_the_end(last: list[dict[str, str]]) -> None:
    """A server that does not report their number, and sends shorter pages than asked for, hides none of them."""
    pages = [[{"id": letter * 32, "title": letter}] for letter in "ab"]
    bodies = [json.dumps({"success": True, "errors": [], "result": page}).encode() for page in (*pages, last)]
    async with serving(*[says(200, body) for body in bodies]) as server:
        store = cloudflare_store(Bare(server.origin), FakeClock(), timeout=60)
        assert await store.namespaces() == ["a", "b"]
        await store.aclose()


# A name that leads elsewhere while kvsync runs


@pytest.mark.parametrize("change", ["renamed", "replaced", "swapped"])
async def test_a_namespace_that_changes_under_a_running_daemon(repo: Repo, service: Service, change: str) -> None:
    """Renamed and made again, deleted and made again, or swapped with another: nothing is written by the plan that was made for
    the one before, which stays as it is; the next pass is for the new one."""
    await repo.settle({"a": "1", "b": "1"})
    service.ids["other"] = service.make("other")
    old = service.ids["web"]
    repo.want({"a": "2", "b": "1"})
    async with repo.open() as workspace:
        plan = await workspace.plan(TargetSelection())
        if change == "renamed":
            replace_namespace(service)
        elif change == "replaced":
            service.remove("web")
            service.ids["web"] = service.make("web")
        else:
            rename(service, "web", "between")
            rename(service, "other", "web")
            rename(service, "between", "other")
        report = await workspace.apply(plan, command="test")
        assert set(outcomes(report).values()) == {"not-attempted"}
        assert "changed its place after the plan was made" in (report.targets[0].error or "")
        assert service.values("web") == {}
        again = await workspace.plan(TargetSelection())
        assert changes(again.targets[0]) == [("create", "new", "a"), ("create", "new", "b")]
        assert old in (again.targets[0].moved_from or "")
        await workspace.apply(again, command="test")
    assert service.values("web") == {"a": b"2", "b": b"1"}
    if change != "replaced":
        title = "web (old)" if change == "renamed" else "other"
        assert service.values(title) == {"a": b"1", "b": b"1"}


async def test_a_rename_is_noticed_within_a_minute(repo: Repo, service: Service) -> None:
    """A pass with nothing to write believes a title for a minute at most; then it is about the namespace that has it."""
    repo.clock = clock = FastForwardClock(61)
    await repo.settle({"a": "1"})
    async with repo.open() as workspace:
        assert not (await workspace.plan(TargetSelection())).targets[0].changes
        replace_namespace(service)
        await clock.sleep(61)
        plan = (await workspace.plan(TargetSelection())).targets[0]
        assert plan.moved_from is not None
        assert changes(plan) == [("create", "new", "a")]


async def test_a_namespace_that_comes_back_is_known(repo: Repo, service: Service) -> None:
    """What was known of a namespace is kept while its title leads elsewhere, and counts again when it leads back."""
    await repo.settle({"a": "1", "b": "1"})
    replace_namespace(service)
    repo.want({"a": "1"})
    await repo.converge()
    assert service.values("web") == {"a": b"1"}
    assert service.values("web (old)") == {"a": b"1", "b": b"1"}
    rename(service, "web", "web (new)")
    rename(service, "web (old)", "web")
    assert changes(await repo.plan()) == [("delete", "removed", "b")]


async def test_a_namespace_that_is_lost_in_the_middle_is_not_followed(service: Service, connect: Open) -> None:
    """Once a call found the namespace gone, no call goes to a new one of the same title until the name is located again."""
    store = connect(options={"create_namespaces": True})
    await locate(store, "web", writing=True)
    service.remove("web")
    service.ids["web"] = service.make("web")
    for _ in range(2):
        with pytest.raises(PermanentError, match="deleted in the meantime"):
            await store.write("web", [creation("a")])
    assert service.values("web") == {}
    await locate(store, "web")
    await store.write("web", [creation("a")])
    assert service.values("web") == {"a": b"v"}


async def test_an_id_that_is_gone_ends_the_pass(tmp_path: Path, service: Service) -> None:
    """A name in namespace_ids whose namespace was deleted is an error, although another one has the title by now."""
    repo = Repo(tmp_path, service, extra=f"    namespace_ids: {{web: {service.ids['web']}}}\n", policy=FREELY)
    await repo.settle({"a": "1"})
    repo.want({"a": "2"})
    async with repo.open() as workspace:
        plan = await workspace.plan(TargetSelection())
        service.remove("web")
        service.ids["web"] = service.make("web")
        report = await workspace.apply(plan, command="test")
        assert "correct namespace_ids.web" in (report.targets[0].error or "")
    assert service.values("web") == {}
    assert "correct namespace_ids.web" in ((await repo.plan()).error or "")


# Two names of one namespace


@pytest.mark.parametrize("second", ["alias", "id", "store"])
async def test_two_names_of_one_namespace_are_parked(tmp_path: Path, service: Service, second: str) -> None:
    """Alias and title, id and title, or two stores of one account: neither target is touched, and both are named."""
    id_ = service.ids["web"]
    again = (
        f"  again: {{type: cloudflare-kv, account_id: {service.account}, token: {{env: CLOUDFLARE_API_TOKEN}},"
        f" endpoint: '{service.url}'}}\n"
    )
    repo = Repo(tmp_path, service, extra=f"    namespace_ids: {{alias: {id_}}}\n{again}", policy=FREELY)
    repo.want({"a": "1"})
    names = {"alias": "edge/alias", "id": f"edge/{id_}", "store": "again/web"}[second]
    store, _, namespace = names.partition("/")
    (tmp_path / "state/other.yaml").write_text(f"store: {store}\nnamespace: {namespace}\nkeys: {{b: '1'}}\n")
    async with repo.open() as workspace:
        plan = await workspace.plan(TargetSelection())
        assert len(plan.targets) == 2
        for target in plan.targets:
            (reason,) = target.parked
            assert names in reason
            assert "edge/web" in reason
            assert "resolve to the same place" in reason
            assert "kvsync.yaml:" in reason
        await workspace.apply(plan, command="test", approvals=[plan.digest])
    assert service.values("web") == {}


# Another account behind the same name


async def test_another_account_behind_the_name_is_left_as_it_is(repo: Repo, service: Service) -> None:
    """When the store leads to another account, nothing there is overwritten or deleted for what was written here; when it
    leads back, everything is still known."""
    await repo.settle({"a": "1", "b": "1", "gone": "1"})
    listed = service.listed("web")
    with Service.serve() as other:
        other.reset("web")
        other.put("web", "a", b"theirs")
        other.put("web", "b", b"1", metadata=listed["b"]["metadata"])
        other.put("web", "gone", b"1", metadata=listed["gone"]["metadata"])
        repo.want({"a": "1", "b": "1"})
        config = repo.root / "kvsync.yaml"
        config.write_text(config.read_text().replace(service.url, other.url).replace(service.account, other.account))
        repo.service = other
        plan = await repo.plan()
        assert service.ids["web"] in (plan.moved_from or "")
        assert outcomes(await repo.apply()) == {"a": "refused", "b": "applied"}
        assert other.values("web") == {"a": b"theirs", "b": b"1", "gone": b"1"}
        config.write_text(config.read_text().replace(other.url, service.url).replace(other.account, service.account))
    repo.service = service
    assert changes(await repo.plan()) == [("delete", "removed", "gone")]


# Marks that were copied, dropped, restored or forged


async def test_copies_are_not_deleted(repo: Repo, service: Service) -> None:
    """Copies of our entries, metadata and all, under other keys are foreign; only what we wrote is pruned."""
    await repo.settle({"a": "1", "b": "1"})
    service.put("web", "backup-of-a", b"1", metadata=service.listed("web")["a"]["metadata"])
    service.put("web", "b-by-hand", b"tuned", metadata=service.listed("web")["b"]["metadata"])
    repo.want({"a": "1"})
    repo.clock = FastForwardClock(61)
    plan = await repo.plan()
    assert changes(plan) == [("delete", "removed", "b")]
    assert plan.foreign == 2
    await repo.converge()
    assert service.values("web") == {"a": b"1", "backup-of-a": b"1", "b-by-hand": b"tuned"}


async def test_what_a_copied_mark_says_of_the_value_is_not_believed(repo: Repo, service: Service) -> None:
    """A wanted entry under a copied mark is read, also where the mark speaks of the very content that is wanted: it is not ours
    to overwrite."""
    await repo.settle({"a": "1"})
    service.put("web", "b", b"theirs", metadata=service.listed("web")["a"]["metadata"])
    repo.want({"a": "1", "b": "1"})
    plan = await repo.plan()
    assert changes(plan) == []
    (refused,) = plan.refused
    assert refused.identity == Identity("b")
    assert "a copy" in refused.reason
    service.put("web", "b", b"1", metadata=service.listed("web")["a"]["metadata"])
    assert changes(await repo.plan()) == [("adopt", "unowned", "b")]


async def test_a_dropped_mark_is_drift(repo: Repo, service: Service) -> None:
    """Who replaces an entry without its metadata made drift, equal or not: it is reported, and healed with a new mark."""
    await repo.settle({"equal": "1", "changed": "1", "kept": "1"})
    service.put("web", "equal", b"1")
    service.put("web", "changed", b"theirs")
    repo.clock = FastForwardClock(61)
    assert changes(await repo.plan()) == [("update", "drifted", "changed"), ("adopt", "drifted", "equal")]
    assert repo.command("drift").returncode == 2
    await repo.converge()
    assert set(service.values("web").values()) == {b"1"}
    assert all("s" in one["metadata"]["kvsync"] for one in service.listed("web").values())


async def test_a_restored_entry_is_drift(repo: Repo, service: Service) -> None:
    """Who writes back an earlier value with its metadata made drift: the mark is valid, but not what was applied last."""
    await repo.settle({"a": "1"})
    old = service.listed("web")["a"]["metadata"]
    await repo.settle({"a": "2"})
    repo.clock = FastForwardClock(61)
    await repo.converge()
    service.put("web", "a", b"1", metadata=old)
    assert changes(await repo.plan()) == [("update", "drifted", "a")]
    await repo.converge()
    assert service.value("web", "a") == b"2"


async def test_an_owner_key_cannot_be_done_without(service: Service, connect: Open) -> None:
    """With an owner key, neither a plain digest nor a mark under another key settles an entry, or counts for its value."""
    store, key, old = connect(), b"k" * 32, b"o" * 32
    await put(store, "ours", keys=(key,))
    await put(store, "rotated", keys=(old,))
    await put(store, "plain")
    await put(store, "forged", keys=(b"f" * 32,))
    signs = signer(store, keys=(key, old))
    snapshot = await store.observe("web", signs)
    assert snapshot is not None
    assert set(snapshot.settled) == {Identity("ours")}
    proofs, known = {}, set()
    for identity, entry in snapshot.entries.items():
        assert entry.mark is not None
        proofs[identity.key] = signs.proof(identity, entry.mark)
        known |= {identity.key} if entry.fingerprint is not None else set()
    assert proofs == {
        "ours": Proof.VALID,
        "rotated": Proof.RENEWABLE,
        "plain": Proof.WEAK,
        "forged": Proof.NONE,
    }
    assert known == {"ours", "rotated"}


async def test_a_forged_mark_deletes_nothing(tmp_path: Path, service: Service, connect: Open) -> None:
    """With an owner key, an entry under a mark that anyone can compute is foreign, and a wanted one is read, and not ours."""
    repo = Repo(tmp_path, service, extra="owner_key: {env: API_TOKEN}\n", policy=FREELY)
    await repo.settle({"a": "1", "gone": "1"})
    store = connect()
    forged = MarkSigner("team-a", await locate(store, "web"))
    for key in ("b", "extra"):
        write = creation(key, "theirs")
        mark = forged.signed(write.identity, Mark("team-a", fingerprint(Content(b"1"))))
        await store.write("web", [replace(write, mark=mark)])
    repo.want({"a": "1", "b": "1"})
    repo.clock = FastForwardClock(61)
    plan = await repo.plan()
    assert changes(plan) == [("delete", "removed", "gone")]
    assert [str(one.identity) for one in plan.refused] == ["b"]
    await repo.apply()
    assert service.values("web") == {"a": b"1", "b": b"theirs", "extra": b"theirs"}


# Marks of earlier versions


def _unsealed(service: Service, *keys: str) -> None:
    """Leave entries as an earlier version wrote them."""
    listed, values = service.listed("web"), service.values("web")
    for key in keys:
        metadata = listed[key]["metadata"]
        del metadata["kvsync"]["s"]
        service.put("web", key, values[key] or b"", metadata=metadata)


async def test_marks_of_earlier_versions_are_renewed(repo: Repo, service: Service) -> None:
    """Equal entries are marked again; what the ledger knows is deleted when it is no longer wanted."""
    await repo.settle({"kept": "1", "gone": "1"})
    _unsealed(service, "kept", "gone")
    repo.want({"kept": "1"})
    repo.clock = FastForwardClock(61)
    assert changes(await repo.plan()) == [("delete", "removed", "gone"), ("adopt", "changed", "kept")]
    await repo.converge()
    assert service.values("web") == {"kept": b"1"}
    assert "s" in service.listed("web")["kept"]["metadata"]["kvsync"]


async def test_without_a_ledger_marks_of_earlier_versions_delete_nothing(
    repo: Repo, service: Service, tmp_path: Path
) -> None:
    """In a fresh checkout equal entries are marked again, and others are refused with the reason, not deleted."""
    await repo.settle({"kept": "1", "gone": "1"})
    _unsealed(service, "kept", "gone")
    (tmp_path / "fresh").mkdir()
    fresh = Repo(tmp_path / "fresh", service, policy=FREELY)
    fresh.want({"kept": "1"})
    plan = await fresh.plan()
    assert changes(plan) == [("adopt", "unowned", "kept")]
    (refused,) = plan.refused
    assert "its mark was made by an earlier version of kvsync" in refused.reason
    await fresh.apply()
    assert service.values("web") == {"kept": b"1", "gone": b"1"}


# The fast way through a page of plain marks


PLACE = Place("cloudflare-kv", (("account", "0"), ("namespace", "1")))


def _page(signs: MarkSigner, count: int = 5) -> list[dict[str, Any]]:
    names = [Identity(f"key-{number}") for number in range(count)]
    prints = [bytes([number]) * 16 for number in range(count)]
    rows = zip(names, prints, signs.plain_seal_texts(names, prints), strict=True)
    return [{"name": one.key, "metadata": {"kvsync": {"o": OWNER, "h": h.hex(), "s": s}}} for one, h, s in rows]


def _taken(signs: MarkSigner, items: list[dict[str, Any]]) -> tuple[Entries, str]:
    listing = Listing(signs)
    listing.add(items)
    return listing.entries(None), listing.token()


@pytest.mark.parametrize("keys", [(), (b"k" * 32,)])
def test_plain_marks_are_verified_by_the_page(keys: tuple[bytes, ...]) -> None:
    """All of a page that verify are settled, with the marks that were written; one that does not is not, and costs the others
    nothing."""
    signs = MarkSigner(OWNER, PLACE, keys)
    items = _page(signs)
    entries, _ = _taken(signs, items)
    assert len(entries.settled) == 5
    for item in items:
        entry = entries[Identity(item["name"])]
        assert entry.mark is not None
        assert signs.proof(entry.identity, entry.mark) is Proof.VALID
        assert signs.is_settled(entry)
    items[2]["metadata"] = items[1]["metadata"]
    entries, _ = _taken(signs, items)
    assert set(entries.settled) == {Identity(f"key-{number}") for number in (0, 1, 3, 4)}
    assert entries[Identity("key-2")].fingerprint is None
    assert not entries.is_told
    elsewhere = MarkSigner(OWNER, Place("cloudflare-kv", (("account", "0"), ("namespace", "2"))), keys)
    assert not _taken(elsewhere, items)[0].settled


@pytest.mark.parametrize("seal", ["", "A" * 21, "A" * 22, "A" * 23, "é" * 22, "!" * 22, None, 5, ["A"] * 22])
def test_a_seal_that_is_not_one_changes_the_token(seal: Any) -> None:
    """Whatever stands in place of a seal, the entry is not settled, and the listing is not the one from before."""
    signs = MarkSigner(OWNER, PLACE)
    items = _page(signs)
    _, before = _taken(signs, items)
    items[0]["metadata"]["kvsync"]["s"] = seal
    entries, token = _taken(signs, items)
    assert token != before
    assert set(entries.settled) == {Identity(f"key-{number}") for number in range(1, 5)}


# Which account it is


async def test_an_account_by_its_name_is_the_same_place(service: Service, connect: Open) -> None:
    """An account that is named leads to the places of its id, and is looked up once; the older credentials work the same."""
    email, key = (service.env[f"CLOUDFLARE_EMULATOR_{name}"] for name in ("EMAIL", "API_KEY"))
    by_name = {"account_id": None, "account": "kvsync-emulator"}
    named = connect(options=by_name)
    by_key = connect(options=by_name | {"token": None, "email": email, "api_key": TOKEN}, token=key)
    expected = await locate(connect(), "web")
    service.clear_requests()
    for store in (named, by_key):
        await put(store, f"by {store is named}")
        assert await locate(store, "web", writing=True) == expected
        assert await store.namespaces() == ["web"]
        assert {one.check: one.ok for one in await store.check()}.keys() >= {"credential", "reading", "writing"}
    assert service.control("GET", "stats")["routes"]["GET /accounts"] == 2
    assert service.values("web") == {"by True": b"v", "by False": b"v"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "Nobody",
            r'no account "Nobody" among those of the credential \("Shop", "Shop", "Zoo"\); correct account, or set',
        ),
        ("Shop", r'several accounts are named "Shop" \(a1, a2\); set account_id'),
    ],
)
async def test_an_account_that_is_not_certain_is_an_error(name: str, message: str) -> None:
    """A name that no account has, or several, ends the pass before any namespace is looked up."""
    accounts = [{"id": "a1", "name": "Shop"}, {"id": "a2", "name": "Shop"}, {"id": "a3", "name": "Zoo"}]
    page = {"success": True, "errors": [], "result": accounts, "result_info": {"total_count": 3}}
    async with serving(says(200, json.dumps(page).encode())) as server:
        store = cloudflare_store(Bare(server.origin), FakeClock(), options={"account_id": None, "account": name})
        for _ in range(2):
            with pytest.raises(PermanentError, match=message):
                await locate(store, "web")
        assert all("/accounts?" in one.line for one in server.seen)
        await store.aclose()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"account": "Shop"}, "set either account_id or account"),
        ({"account_id": None}, "set either account_id or account"),
        ({"api_key": TOKEN}, "set either token, or email and api_key"),
        ({"token": None, "email": "a@b.example"}, "set either token, or email and api_key"),
    ],
)
def test_options_that_do_not_go_together_are_refused(service: Service, options: dict[str, Any], message: str) -> None:
    """Account and credential are given in one way."""
    with pytest.raises(ValueError, match=message):
        cloudflare_store(service, options=options)
