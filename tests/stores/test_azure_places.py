"""Places and signed marks of App Configuration: what is ours there, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kvsync.app import TargetSelection
from kvsync.config.model import Credential, CredentialKind
from kvsync.errors import AuthError
from kvsync.model.canonical import fingerprint
from kvsync.model.entry import Actual, Content, Identity, Mark, Target
from kvsync.model.place import Place, overlaps
from kvsync.planning.marks import MarkSigner, Proof
from kvsync.stores.base import Precondition, Store, Write, WriteStatus
from kvsync.stores.extensions import locate
from tests.stores.azure_repo import Repo
from tests.stores.azure_service import SECRET, Service
from tests.stores.emulated import FREELY, changes, outcomes
from tests.stores.signing import OWNER, signed, signer

Open = Callable[..., Store]


@pytest.fixture
def repo(service: Service, tmp_path: Path) -> Repo:
    return Repo(tmp_path, service, policy=FREELY)


def creation(key: str, value: str = "v", label: str | None = None) -> Write:
    content = Content(value.encode())
    return Write(Identity(key, label), Precondition.ABSENT, content, Mark(OWNER, fingerprint(content)))


async def put(store: Store, key: str, value: str = "v", keys: tuple[bytes, ...] = ()) -> None:
    """Write an entry as kvsync does."""
    (result,) = await store.write("web", [signed(store, creation(key, value), keys=keys)])
    assert result.status is WriteStatus.DONE


async def settled(store: Store, keys: tuple[bytes, ...] = ()) -> set[Identity]:
    """The entries that a listing shows as settled, as the slow way through each entry confirms."""
    signs = signer(store, keys=keys)
    snapshot = await store.observe("web", signs)
    assert snapshot is not None
    assert snapshot.settled.keys() == {one for one, entry in snapshot.entries.items() if signs.is_settled(entry)}
    return set(snapshot.settled)


async def read(store: Store, key: str, label: str | None = None) -> Actual:
    return (await store.read("web", [Identity(key, label)]))[Identity(key, label)]


def proof_of(entry: Actual, signs: MarkSigner) -> Proof:
    assert entry.mark is not None
    return signs.proof(entry.identity, entry.mark)


# What a place is


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("https://Shop.azconfig.io", "shop.azconfig.io"),
        ("https://shop.azconfig.io:443/", "shop.azconfig.io"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://127.0.0.1", "127.0.0.1"),
    ],
)
async def test_a_place_is_the_host_of_the_endpoint(connect: Open, endpoint: str, host: str) -> None:
    """However the endpoint is spelled, the place is its host, with the port where that is not the usual one."""
    store = connect(endpoint=endpoint, options={}, allow_insecure=True)
    place = store.place("web")
    assert place.parts == (("host", host),)
    assert (place.scope.prefix, place.is_resolved) == ("web:", True)
    assert await locate(store, "web") == place


async def test_the_host_in_a_connection_string_is_found_by_locating(service: Service, connect: Open) -> None:
    """Offline nothing is read: two stores with one reference are one place, which is resolved when it is located."""

    def refuse(_: Credential) -> str:
        raise AuthError("must not be read offline")

    store = connect()
    offline = store.place("web")
    assert (offline.is_resolved, offline.parts) == (
        False,
        (("connection string", "the environment variable AZURE_APPCONFIG_CONNECTION_STRING"),),
    )
    assert offline == connect(env=_Refusing()).place("web")
    found = await locate(store, "web")
    assert found.is_resolved
    assert found.parts == (("host", service.url.removeprefix("http://")),)
    assert found == await locate(connect(endpoint="http://127.0.0.1:9"), "web", writing=True)  # another way to it
    with pytest.raises(AuthError):
        await locate(connect(env=_Refusing()), "web")


class _Refusing(dict[str, str]):
    """An environment that must not be read."""

    def __missing__(self, name: str) -> str:
        raise AuthError(f"{name} must not be read offline")


async def test_a_namespace_that_keys_do_not_hold_is_a_place_of_its_own(connect: Open) -> None:
    """With a key format without namespace, marks hold it: one namespace is not settled in the other, nor deleted by it."""
    store = connect(key_format="{key}")
    places = [store.place(namespace) for namespace in ("one", "two")]
    assert places[0].key != places[1].key
    assert places[0].container == places[1].container
    write = creation("a")
    await store.write("one", [signed(store, write, "one")])
    for namespace, found in (("one", {Identity("a")}), ("two", set())):
        snapshot = await store.observe(namespace, signer(store, namespace))
        assert snapshot is not None
        assert set(snapshot.settled) == found


# Another store behind the same name


async def test_another_host_behind_the_name_is_left_as_it_is(
    repo: Repo, service: Service, other_service: Service
) -> None:
    """When the connection string leads to another store, nothing there is overwritten or deleted for what was written here;
    when it leads back, everything is still known."""
    await repo.settle({"a": "1", "b": "1", "gone": "1"})
    copies = {key: service.must_get(key) for key, _ in service.values()}
    other_service.set("web:a", "theirs")
    other_service.set("web:b", "1", tags=copies["web:b"].tags)
    other_service.set("web:gone", "1", tags=copies["web:gone"].tags)
    repo.want({"a": "1", "b": "1"})
    before = other_service.values()
    repo.service = other_service
    (plan,) = (await repo.plan_all()).targets
    assert plan.moved_from is not None
    assert service.url.removeprefix("http://") in plan.moved_from
    assert outcomes(await repo.apply()) == {"a": "refused", "b": "applied"}
    assert other_service.values() == before
    repo.service = service
    assert changes(await repo.plan_all()) == [("delete", "removed", "gone")]
    await repo.converge(approved=True)
    assert service.values() == {("web:a", None): "1", ("web:b", None): "1"}


async def test_pages_of_another_host_are_not_those_of_this_one(
    service: Service, other_service: Service, connect: Open
) -> None:
    """Two stores with one cache, as behind one name: each is asked without the other's ETags, and shows its own entries."""
    here = connect()
    await put(here, "here")
    await here.observe("web", signer(here))
    there = connect(env=other_service.env)
    await put(there, "there")
    other_service.clear_requests()
    snapshot = await there.observe("web", signer(there))
    assert snapshot is not None
    assert set(snapshot.entries) == {Identity("there")}
    assert other_service.requests() == [("GET", 200)]
    service.clear_requests()
    again = await connect().observe("web", signer(here))
    assert again is not None
    assert set(again.entries) == {Identity("here")}
    assert service.requests() == [("GET", 304)]
    assert again.token != snapshot.token


async def test_a_connection_string_that_changes_between_plan_and_apply(
    tmp_path: Path, service: Service, other_service: Service
) -> None:
    """A daemon whose connection string is exchanged writes nothing by the old plan, neither here nor there, and plans again."""
    file = tmp_path / "azure"
    repo = _repo_with_file(tmp_path, service, file)
    file.write_text(service.env[SECRET.name])
    await repo.settle({"a": "1"})
    repo.want({"a": "2"})
    async with repo.open() as workspace:
        plan = await workspace.plan(TargetSelection())
        file.write_text(other_service.env[SECRET.name])
        report = await workspace.apply(plan, command="test")
        assert set(outcomes(report).values()) == {"not-attempted"}
        assert "changed its place after the plan was made" in (report.targets[0].error or "")
        assert service.values() == {("web:a", None): "1"}
        assert other_service.values() == {}
        report = await workspace.apply(await workspace.plan(TargetSelection()), command="test")
        assert set(outcomes(report).values()) == {"applied"}
    assert service.values() == {("web:a", None): "1"}
    assert other_service.values() == {("web:a", None): "2"}


def _repo_with_file(root: Path, service: Service, file: Path) -> Repo:
    repo = Repo(root, service, policy=FREELY)
    config = root / "kvsync.yaml"
    config.write_text(config.read_text().replace(f"{{env: {SECRET.name}}}", f"{{file: {file}}}"))
    return repo


async def test_a_pass_stays_with_the_host_it_began_with(
    service: Service, other_service: Service, connect: Open
) -> None:
    """While one namespace is already located at another host, calls for one that is not go on to the host it was located at."""
    env = dict(service.env)
    store = connect(env=env)
    await locate(store, "web")
    env |= other_service.env
    await locate(store, "mail")
    await store.write("web", [creation("a")])
    await store.write("mail", [creation("b")])
    assert set(service.values()) == {("web:a", None)}
    assert set(other_service.values()) == {("mail:b", None)}
    assert (await locate(store, "web")).parts == (("host", other_service.url.removeprefix("http://")),)
    assert await store.read("web", [Identity("a")]) == {}


# Marks that were copied, dropped, restored or forged


async def test_a_mark_is_worth_nothing_elsewhere(service: Service, connect: Open) -> None:
    """A copy with its tags, under another key, another label or in another namespace, is not proven to be ours."""
    store = connect()
    await put(store, "a")
    tags = service.must_get("web:a").tags
    service.set("web:copy", "v", tags=tags)
    service.set("web:a", "v", label="prod", tags=tags)
    service.set("web:x:a", "v", tags=tags)
    assert await settled(store) == {Identity("a")}
    for entry in ((await read(store, "copy")), (await read(store, "a", "prod")), (await read(store, "x:a"))):
        assert proof_of(entry, signer(store)) is Proof.NONE
    elsewhere = Place("azure-appconfig", (("host", "other.azconfig.io"),), store.place("web").scope)
    assert proof_of(await read(store, "a"), MarkSigner(OWNER, elsewhere)) is Proof.NONE


async def test_copies_are_not_deleted(repo: Repo, service: Service) -> None:
    """Copies of our entries under other keys and labels are foreign; only what we wrote is pruned."""
    await repo.settle({"a": "1", "b": "1"})
    tags = service.must_get("web:a").tags
    service.set("web:a", "1", label="canary", tags=tags)
    service.set("web:b-by-hand", "tuned", tags=service.must_get("web:b").tags)
    repo.want({"a": "1"})
    plan = await repo.plan_all()
    assert changes(plan) == [("delete", "removed", "b")]
    assert plan.targets[0].foreign == 2
    await repo.converge(approved=True)
    assert service.values() == {("web:a", None): "1", ("web:a", "canary"): "1", ("web:b-by-hand", None): "tuned"}


async def test_a_dropped_mark_is_drift(repo: Repo, service: Service) -> None:
    """Who replaces an entry without its tags made drift, equal or not: it is reported, and healed with a new mark."""
    await repo.settle({"equal": "1", "changed": "1", "kept": "1"})
    service.set("web:equal", "1")
    service.set("web:changed", "theirs")
    plan = await repo.plan_all()
    assert changes(plan) == [("update", "drifted", "changed"), ("adopt", "drifted", "equal")]
    assert repo.command("drift").returncode == 2
    await repo.converge(approved=True)
    assert set(service.values().values()) == {"1"}
    assert all("kvsync.seal" in service.must_get(key).tags for key, _ in service.values())
    assert repo.command("drift").returncode == 0


async def test_a_restored_revision_is_drift(repo: Repo, service: Service) -> None:
    """Who restores an old revision, value and mark, made drift: the mark is valid, but it is not what was applied last."""
    await repo.settle({"a": "1", "b": "1"})
    old = service.must_get("web:a")
    await repo.settle({"a": "2", "b": "1"})
    service.set("web:a", "1", tags=old.tags)
    assert changes(await repo.plan_all()) == [("update", "drifted", "a")]
    await repo.converge(approved=True)
    assert service.must_get("web:a").value == "2"


async def test_an_owner_key_cannot_be_done_without(service: Service, connect: Open) -> None:
    """With an owner key, neither a plain digest nor a mark under another key makes an entry settled; a key that was rotated
    does not prove less, but asks to be renewed."""
    store, key, old = connect(), b"k" * 32, b"o" * 32
    await put(store, "ours", keys=(key,))
    await put(store, "rotated", keys=(old,))
    await put(store, "plain")
    await put(store, "forged", keys=(b"f" * 32,))
    assert await settled(store, (key, old)) == {Identity("ours")}
    signs = signer(store, keys=(key, old))
    found = {name: proof_of(await read(store, name), signs) for name in ("ours", "rotated", "plain", "forged")}
    assert found == {
        "ours": Proof.VALID,
        "rotated": Proof.RENEWABLE,
        "plain": Proof.WEAK,
        "forged": Proof.NONE,
    }


async def test_a_forged_mark_deletes_nothing(tmp_path: Path, service: Service, connect: Open) -> None:
    """With an owner key, an entry under a mark that anyone can compute is foreign, and a wanted one is not overwritten."""
    repo = Repo(tmp_path, service, policy=FREELY, extra="owner_key: {env: API_TOKEN}\n")
    await repo.settle({"a": "1", "gone": "1"})
    store = connect()
    forged = MarkSigner("team-a", await locate(store, "web"))
    for key in ("b", "extra"):
        write = creation(key, "theirs")
        mark = forged.signed(write.identity, Mark("team-a", fingerprint(Content(b"theirs"))))
        await store.write("web", [replace(write, mark=mark)])
    repo.want({"a": "1", "b": "1"})
    plan = await repo.plan_all()
    assert changes(plan) == [("delete", "removed", "gone")]
    assert [str(one.identity) for one in plan.targets[0].refused] == ["b"]
    await repo.converge(approved=True)
    assert service.values() == {("web:a", None): "1", ("web:b", None): "theirs", ("web:extra", None): "theirs"}


@pytest.mark.parametrize("seal", ["", "x", "é" * 22, "A" * 22, "A" * 23, None])
async def test_a_seal_that_was_edited_proves_nothing(service: Service, connect: Open, seal: str | None) -> None:
    """A tag that was edited into nonsense is not taken for the missing tag of an earlier version."""
    store = connect()
    await put(store, "a")
    tags = service.must_get("web:a").tags
    del tags["kvsync.seal"]
    service.set("web:a", "v", tags=tags if seal is None else tags | {"kvsync.seal": seal})
    assert await settled(store) == set()
    assert proof_of(await read(store, "a"), signer(store)) is (Proof.WEAK if seal is None else Proof.NONE)


# Marks of earlier versions


def _unsealed(service: Service, key: str) -> None:
    """Leave an entry as an earlier version wrote it."""
    entry = service.must_get(key)
    del entry.tags["kvsync.seal"]
    service.sdk.set_configuration_setting(entry)


async def test_marks_of_earlier_versions_are_renewed(repo: Repo, service: Service) -> None:
    """Equal entries are marked again; what the ledger knows is deleted when it is no longer wanted."""
    await repo.settle({"kept": "1", "gone": "1"})
    for key in ("web:kept", "web:gone"):
        _unsealed(service, key)
    repo.want({"kept": "1"})
    assert changes(await repo.plan_all()) == [("delete", "removed", "gone"), ("adopt", "changed", "kept")]
    await repo.converge(approved=True)
    assert service.values() == {("web:kept", None): "1"}
    assert "kvsync.seal" in service.must_get("web:kept").tags


async def test_without_a_ledger_marks_of_earlier_versions_delete_nothing(
    repo: Repo, service: Service, tmp_path: Path
) -> None:
    """In a fresh checkout equal entries are marked again, and others are refused with the reason, not deleted."""
    await repo.settle({"kept": "1", "gone": "1"})
    for key in ("web:kept", "web:gone"):
        _unsealed(service, key)
    (tmp_path / "fresh").mkdir()
    fresh = Repo(tmp_path / "fresh", service, policy=FREELY)
    fresh.want({"kept": "1"})
    plan = await fresh.plan_all()
    assert changes(plan) == [("adopt", "unowned", "kept")]
    (refused,) = plan.targets[0].refused
    assert refused.identity == Identity("gone")
    assert "its mark was made by an earlier version of kvsync" in refused.reason
    await fresh.converge(approved=True)
    assert service.values() == {("web:kept", None): "1", ("web:gone", None): "1"}


# Targets that meet


TWINS = "store: settings\nnamespace: app\nkeys:\n  'sub:y': one\n---\nstore: settings\nnamespace: app:sub\nkeys:\n  y: two\n"


async def test_two_entries_that_are_one_remote_key(repo: Repo, service: Service) -> None:
    """`app` with `sub:y` and `app:sub` with `y` are one key: an error with both places. `app` is left unchanged, because
    the key lies in `app:sub`, which goes on."""
    (repo.root / "state/app.yaml").write_text(TWINS)
    service.clear_requests()
    found = repo.command("validate")
    assert found.returncode == 78
    twins = "settings/app: sub:y and settings/app:sub: y (state/app.yaml:9:3)"
    assert (
        f'state/app.yaml:4:3: {twins} have the same remote key, "app:sub:y", which is in the namespace' in found.stderr
    )
    assert service.requests() == []
    await repo.apply()
    assert service.values() == {("app:sub:y", None): "two"}


async def test_an_entry_within_another_namespace_is_an_error(repo: Repo) -> None:
    """An entry of `app` whose key belongs to the managed `app:sub` is reported with its place, though that does not name it."""
    (repo.root / "state/app.yaml").write_text(TWINS.replace("  y: two", "  z: two"))
    found = repo.command("validate")
    assert found.returncode == 78
    assert (
        'state/app.yaml:4:3: settings/app: sub:y belongs to the namespace "app:sub", which kvsync also manages'
        in found.stderr
    )


@pytest.mark.parametrize("prune", ["owned", "scope"])
async def test_nested_namespaces_leave_each_other_alone(tmp_path: Path, service: Service, prune: str) -> None:
    """Of `app` and `app:sub`, both managed, neither deletes what is the other's; what others left in `app:sub` is for its
    target alone to judge, whatever `app` may prune."""
    repo = Repo(tmp_path, service, policy=f"{{prune: {prune}, guard: {{max_delete_pct: 100, max_update_pct: 100}}}}")
    service.set("app:foreign", "theirs")
    service.set("app:sub:foreign", "theirs")
    repo.want({"a": "1", "b": "1"}, namespace="app")
    (tmp_path / "state/sub.yaml").write_text(
        "store: settings\nnamespace: app:sub\npolicy: {prune: owned}\nkeys: {a: '2', b: '2'}\n"
    )
    for _ in range(2):
        await repo.apply()
    inner = {"app:sub:a", "app:sub:b", "app:sub:foreign"}
    outer = {"app:foreign"} if prune == "owned" else set()
    assert {key for key, _ in service.values()} == {"app:a", "app:b"} | inner | outer
    repo.want({"a": "1"}, namespace="app")
    await repo.converge(approved=True)
    assert {key for key, _ in service.values()} == {"app:a"} | inner | outer


async def test_two_stores_that_are_one_are_parked(tmp_path: Path, service: Service) -> None:
    """Two names of one App Configuration store may not have one namespace: neither is touched, and both are named."""
    more = f"  again: {{type: azure-appconfig, connection_string: {{env: {SECRET.name}}}, endpoint: '{service.url}'}}\n"
    repo = Repo(tmp_path, service, policy=FREELY, extra=more)
    repo.want({"a": "1"})
    (tmp_path / "state/again.yaml").write_text("store: again\nnamespace: web\nkeys: {b: '1'}\n")
    plan = await repo.plan_all()
    for target in plan.targets:
        (reason,) = target.parked
        assert reason.startswith(
            "again/web (kvsync.yaml:9:10) and settings/web (kvsync.yaml:7:5) resolve to the same place"
        )
    await repo.apply()
    assert service.values() == {}


def test_stores_meet_by_their_reference_offline(service: Service, connect: Open) -> None:
    """Two stores with one reference are known to be one offline; references of different names are not."""
    one, same = connect(), connect()
    another = connect(options={"connection_string": Credential(CredentialKind.ENV, "ANOTHER")})
    places = {Target("one", "web"): one.place("web"), Target("same", "web"): same.place("web")}
    assert [overlap.is_equal for overlap in overlaps(places)] == [True]
    assert overlaps({Target("one", "web"): one.place("web"), Target("another", "web"): another.place("web")}) == []
