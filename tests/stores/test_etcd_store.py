"""What only etcd has: sidecars, revisions, leases, users and certificates, all against the real server."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from kvsync.app.dump import strays
from kvsync.config.model import Credential, CredentialKind
from kvsync.errors import AuthError, PermanentError, StoreError, TransientError
from kvsync.model.entry import Content, Identity, Mark
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Precondition, Store, Write, WriteStatus
from kvsync.stores.etcd import EtcdStore, listing
from kvsync.stores.etcd.remote import Remote
from kvsync.stores.etcd.watch import MOST_WATCHED
from kvsync.stores.extensions import Watchable, locate
from kvsync.testing import FakeClock
from kvsync.testing.conformance import StoreHarness
from tests.stores.emulated import as_json, ask, changes, many, outcomes
from tests.stores.etcd_service import EtcdRepo, EtcdService, etcd_store
from tests.support.etcd import BOUND, Member, b64, is_healthy, running_members, wait_until

PASSWORD = Credential(CredentialKind.ENV, "ETCD_PASSWORD")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    with running_members(tmp_path_factory.mktemp("etcd"), 1, "--unsafe-no-fsync") as (member,):
        yield member


@pytest.fixture
def etcd(running: Member) -> Member:
    """An empty etcd of one member."""
    running.clear()
    return running


@pytest.fixture
def repo(etcd: Member, tmp_path: Path) -> EtcdRepo:
    return EtcdRepo(
        tmp_path, EtcdService(etcd), policy="{prune: owned, guard: {max_delete_pct: 100, max_update_pct: 100}}"
    )


@pytest.mark.parametrize("key_format", ["{namespace}/{key}", "{key}"])
async def test_a_dump_lists_keys_that_are_not_utf8(repo: EtcdRepo, etcd: Member, key_format: str) -> None:
    """No state file can hold them, and nothing is left out in silence."""
    etcd.put("web/a", "1")
    etcd.ask("kv/put", key=b64(b"web/\xff"), value=b64("2"))
    repo.configure(f"    key_format: '{key_format}'\n")
    is_divided = "namespace" in key_format
    async with repo.open(None) as workspace:
        namespaces = await workspace.stores["core"].namespaces() if is_divided else ["any"]
        (left,) = await strays(workspace, "core", namespaces, is_all=is_divided)
    assert (left.identity.key, left.reason) == ("web/\udcff", "its key is not valid UTF-8")


def creation(key: str, value: bytes = b"v", **fields: Any) -> Write:
    return Write(Identity(key), Precondition.ABSENT, Content(value), Mark("conformance", b"f" * 16), **fields)


# Whose is it?


async def test_applying_leaves_the_namespace_to_its_readers(repo: EtcdRepo, etcd: Member) -> None:
    """Below the prefix of a namespace there is nothing but the entries, with the values of the files; the second plan is
    empty."""
    await repo.settle({"greeting": "Hello", "limits": "{json: {rps: 10}}", "promo": "{value: x, ttl: 1h}"})
    found = etcd.ask("kv/range", key=b64("web/"), range_end=b64("web0"))["kvs"]
    assert {one["key"]: one["value"] for one in found} == {
        b64("web/greeting"): b64("Hello"),
        b64("web/limits"): b64('{"rps":10}'),
        b64("web/promo"): b64("x"),
    }
    assert changes(await repo.plan_all()) == []


@pytest.mark.parametrize(
    "tampered",
    [
        lambda etcd: etcd.delete(".kvsync/web/greeting"),
        lambda etcd: etcd.put(".kvsync/web/greeting", "{not json"),
        lambda etcd: etcd.put(".kvsync/web/greeting", etcd.value(".kvsync/web/other")),
        lambda etcd: etcd.put(".kvsync/web/greeting", json.dumps({"owner": "another-team", "fp": "00"})),
        lambda etcd: (etcd.delete("web/greeting"), etcd.put("web/greeting", "Hello")),
    ],
    ids=["removed", "damaged", "copied", "of another owner", "of a key that was made again"],
)
async def test_without_a_mark_of_its_own_nothing_is_deleted(repo: EtcdRepo, etcd: Member, tampered: Any) -> None:
    """An entry whose sidecar is gone, damaged, copied, another owner's or older than the key is not deleted by a machine that
    knows nothing of it."""
    await repo.settle({"greeting": "Hello", "other": "x"})
    tampered(etcd)
    repo.want({"other": "x"})
    await repo.attempt("elsewhere", approved=True)
    assert etcd.value("web/greeting") == b"Hello"


async def test_a_sidecar_without_its_key_is_not_an_entry(repo: EtcdRepo, etcd: Member) -> None:
    """A key that another program deleted is missing, although its sidecar is there, and is made again with both."""
    await repo.settle({"greeting": "Hello"})
    etcd.delete("web/greeting")
    assert changes(await repo.plan_all()) == [("create", "missing", "greeting")]
    await repo.apply()
    assert etcd.value("web/greeting") == b"Hello"
    assert changes(await repo.plan_all()) == []


async def test_a_removed_entry_takes_its_sidecar_along(repo: EtcdRepo, etcd: Member) -> None:
    """A delete leaves nothing behind."""
    await repo.settle({"greeting": "Hello", "other": "x"})
    repo.want({"other": "x"})
    assert outcomes(await repo.apply()) == {"greeting": "applied"}
    assert (etcd.get("web/greeting"), etcd.get(".kvsync/web/greeting")) == (None, None)


async def test_a_change_of_the_sidecar_alone_is_a_conflict(etcd: Member) -> None:
    """A write planned against an entry fails once anybody wrote to its sidecar."""
    harness = _harness(etcd)
    seen = await harness.create("greeting")
    etcd.put(".kvsync/web/greeting", json.dumps({"owner": "another-team", "fp": "00"}))
    for write in (harness.change(seen, Content(b"mine")), harness.deletion(seen)):
        assert (await harness.send([write]))[0].status is WriteStatus.CONFLICT
    await harness.aclose()


async def test_keys_of_kvsync_are_reserved(etcd: Member) -> None:
    """No entry can lie where marks do, no listing of all keys shows them, and an error names the key that another program
    wrote to."""
    plain = etcd_store(etcd.url, key_format="{key}")
    with pytest.raises(ValueError, match="reserved for kvsync"):
        plain.remote_key("web", Identity(".kvsync/web/x"))
    await plain.write("web", [creation("app/x")])
    signer = MarkSigner("conformance", await locate(plain, "web", writing=True))
    snapshot = await plain.observe("web", signer)
    assert snapshot is not None
    assert set(snapshot.entries) == {Identity("app/x")}
    etcd.put(".kvsync", b"\xff")
    with pytest.raises(PermanentError, match=r"the key .kvsync, .*, has a value that is not text; restore it"):
        await locate(plain, "web")
    await plain.aclose()


# What it costs


@pytest.mark.system
async def test_writing_and_reading_cost_what_the_api_needs(repo: EtcdRepo, etcd: Member) -> None:
    """N entries are written in ceil(N/128) transactions, and read in one request for 10,000; unchanged ones cost one."""
    repo.want(many(1_000))
    async with repo.open() as workspace:
        plan = await workspace.plan()
        traffic, before = workspace.stores["core"].traffic, workspace.stores["core"].traffic.requests
        await workspace.apply(plan, command="test", approvals=[plan.digest])
        assert traffic.requests - before <= 8 + 3  # the place: read, made, and read again
    _fill(etcd, 10_001)
    store = etcd_store(etcd.url)
    signer = MarkSigner("conformance", store.place("filled"))
    snapshot = await store.observe("filled", signer)
    assert snapshot is not None
    assert (len(snapshot.entries), store.traffic.requests) == (10_001, 2)
    assert await store.observe("filled", signer, snapshot.token) is None
    assert store.traffic.requests == 3
    await store.aclose()


@pytest.mark.system
async def test_values_at_the_limit_are_written_next_to_many_others(repo: EtcdRepo, etcd: Member) -> None:
    """Values as large as the store takes are written and read back, together with more entries than a transaction holds; one
    byte more is found offline."""
    most = EtcdStore.capabilities.max_value
    assert most is not None
    sizes = {"largest": most, "large": most - 1, "medium": most // 2, "second": most // 2}
    for name, size in sizes.items():
        (repo.root / name).write_bytes(name[:1].encode() * size)
    files = {name: f"{{file: ../{name}}}" for name in sizes}
    await repo.settle({f"key-{number}": number for number in range(300)} | files)
    assert {name: len(etcd.value(f"web/{name}") or b"") for name in sizes} == sizes
    assert changes(await repo.plan_all()) == []
    (repo.root / "largest").write_bytes(b"x" * (most + 1))
    found = repo.command("validate")
    assert found.returncode == 78
    assert f"it is too large: {most + 1:,} bytes; the configured stores allow at most {most:,} bytes" in found.stderr


async def test_a_compaction_begins_the_listing_again(etcd: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where etcd compacts the revision between two pages, the listing is made again, and is whole."""
    _fill(etcd, 10)
    monkeypatch.setattr(listing, "PAGE", 4)
    read = Remote.read
    compacted: list[bool] = []

    async def read_and_compact(self: Remote, *arguments: Any) -> Any:
        answer = await read(self, *arguments)
        if not compacted:
            compacted.append(True)
            etcd.put("other", "x")
            revision = etcd.ask("kv/range", key=b64("other"))["header"]["revision"]
            etcd.ask("kv/compaction", revision=revision)
        return answer

    monkeypatch.setattr(Remote, "read", read_and_compact)
    store = etcd_store(etcd.url)
    snapshot = await store.observe("filled", MarkSigner("conformance", store.place("filled")))
    assert snapshot is not None
    assert snapshot.complete
    assert len(snapshot.entries) == 10
    assert compacted
    await store.aclose()


async def test_entries_that_end_together_share_a_lease(etcd: Member) -> None:
    """Entries with one end cost one lease, over several calls; both keys of an entry end with it."""
    store, ends = etcd_store(etcd.url), time.time() + 3600
    for start in range(2):
        await store.write("web", [creation(f"key-{start}-{number}", expires_at=ends) for number in range(20)])
    leases = {etcd.get(key)["lease"] for key in ("web/key-0-0", "web/key-1-19", ".kvsync/web/key-1-3")}  # type: ignore[index]
    assert len(leases) == 1
    await store.aclose()


async def test_a_lease_that_is_gone_is_requested_again(etcd: Member) -> None:
    """A transaction with a lease that someone revoked writes nothing, and harms neither etcd nor the next one."""
    store, ends = etcd_store(etcd.url), time.time() + 3600
    await store.write("web", [creation("one", expires_at=ends)])
    etcd.ask("lease/revoke", ID=etcd.get("web/one")["lease"])  # type: ignore[index]
    with pytest.raises(TransientError, match="lease not found"):
        await store.write("web", [creation("two", expires_at=ends), creation("three")])
    assert etcd.get("web/three") is None
    results = await store.write("web", [creation("two", expires_at=ends), creation("three")])
    assert [one.status for one in results] == ["done", "done"]
    await store.aclose()


async def test_the_lease_of_another_program_is_seen(etcd: Member) -> None:
    """An entry of ours that another program gave a lease, or took it from, is no longer listed with the end that we gave it."""
    harness = _harness(etcd)
    await harness.create("stays")
    await harness.create("ends", expires_at=time.time() + 7200)
    lease = etcd.ask("lease/grant", TTL="600")["ID"]
    etcd.put("web/stays", "Hello", lease=lease)
    etcd.put("web/ends", "Hello")
    stays, ends = await harness.listed(Identity("stays")), await harness.listed(Identity("ends"))
    assert stays.expires_at is not None
    assert abs(stays.expires_at - time.time() - 600) < 30
    assert ends.expires_at is None
    await harness.aclose()


# Which cluster it is


async def test_another_cluster_is_not_written_to(etcd: Member, tmp_path: Path) -> None:
    """When the members behind the endpoints are replaced between plan and write, nothing is written to the new cluster."""
    with running_members(tmp_path) as (member,):
        store = etcd_store(member.url)
        before = await locate(store, "web", writing=True)
        member.stop()
        (tmp_path / "default").rename(tmp_path / "old")
        member.start()
        wait_until(lambda: _answers(member))
        await _reconnected(store)
        with pytest.raises(PermanentError, match="now reach a different cluster"):
            await store.write("web", [creation("greeting")])
        assert member.get("web/greeting") is None
        after = await locate(store, "web", writing=True)
        assert before.parts[0] == after.parts[0], "etcd gives both the same id, so it must not be all there is"
        assert before.key != after.key
        await store.aclose()


# Users and certificates


@pytest.mark.system
async def test_users_and_their_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing in works, also after tokens were made void by a restart and by a change of users; what is wrong with a user is
    reported without the password."""
    monkeypatch.setenv(PASSWORD.name, "correct-horse")
    with running_members(tmp_path, 1, "--auth-token=simple") as (member,):
        root = _turn_on_authentication(member)
        store = etcd_store(member.url, username="kvsync", password=PASSWORD)
        await store.write("web", [creation("one")])
        _as_root(member, root, "auth/user/add", name="another-team", password="x")
        await store.write("web", [creation("two")])
        member.stop()
        member.start()
        wait_until(lambda: _answers(member))
        await _reconnected(store)
        results = await store.write("web", [creation("three")])
        assert [one.status for one in results] == ["done"]
        with pytest.raises(AuthError, match="permission denied; grant kvsync readwrite"):
            await store.write("mail", [creation("one")])
        await store.aclose()
        strangers: dict[str, dict[str, Any]] = {
            "set username and password": {},
            "correct them": {"username": "nobody", "password": PASSWORD},
        }
        for said, options in strangers.items():
            refused = etcd_store(member.url, **options)
            with pytest.raises(AuthError, match=said) as error:
                await refused.read("web", [Identity("one")])
            assert "correct-horse" not in str(error.value)
            await refused.aclose()


async def test_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with a certificate of an own authority that asks for the client's is reached with the right files alone."""
    certificate, key = _certificate()
    (tmp_path / "cert.pem").write_text(certificate)
    (tmp_path / "key.pem").write_text(key)
    files = [f"--{name}={tmp_path / file}.pem" for name, file in (("cert-file", "cert"), ("key-file", "key"))]
    files += ["--client-cert-auth", f"--trusted-ca-file={tmp_path / 'cert.pem'}"]
    monkeypatch.setenv("CERT", certificate)
    monkeypatch.setenv("KEY", key)
    shown = {name: Credential(CredentialKind.ENV, name.upper()) for name in ("cert", "key")}
    with running_members(tmp_path, 1, *files, scheme="https") as (member,):
        store = etcd_store(member.url, tls={"ca": str(tmp_path / "cert.pem"), **shown})
        results = await _patiently(store, [creation("greeting")])
        assert [one.status for one in results] == ["done"]
        await store.aclose()
        for tls, said in (({"ca": str(tmp_path / "cert.pem")}, "connection"), (shown, "not trusted")):
            refused = etcd_store(member.url, tls=tls, clock=FakeClock())
            with pytest.raises(StoreError, match=said):
                await refused.read("web", [Identity("greeting")])
            await refused.aclose()


# What goes wrong


async def test_a_full_database_is_reported(tmp_path: Path) -> None:
    """A database without space is neither a lost connection nor a bad entry, and `doctor` says so."""
    with running_members(tmp_path, 1, "--quota-backend-bytes=65536", "--unsafe-no-fsync") as (member,):
        store = etcd_store(member.url)
        with pytest.raises(PermanentError, match=r"its database is full.*etcdctl alarm disarm"):
            await _fill_up(store)
        assert {check.check for check in await store.check() if not check.ok} >= {"database"}
        await store.aclose()


async def test_a_member_that_is_down_or_hangs_is_passed_over(etcd: Member, tmp_path: Path) -> None:
    """Reads and writes go to the next endpoint where the first does not listen; one that hangs costs a read its timeout."""
    with running_members(tmp_path) as (other,):
        other.send(signal.SIGSTOP)
        hangs = etcd_store(other.url, etcd.url, timeout=3)
        assert await hangs.read("web", [Identity("greeting")]) == {}
        await hangs.aclose()
        other.stop()
        store = etcd_store(other.url, etcd.url)
        assert [one.status for one in await store.write("web", [creation("greeting")])] == ["done"]
        assert set(await store.read("web", [Identity("greeting")])) == {Identity("greeting")}
        await store.aclose()


# Watching


async def test_a_watch_reports_what_others_write(etcd: Member) -> None:
    """Changes and deletes of others are reported by namespace, also of sidecars; our own writes and other keys are not."""
    async with _connected(etcd) as store:
        await _listed(store, "web", "mail")
        await store.write("web", [creation("ours")])
        etcd.put("elsewhere/x", "x")
        async with _watching(store, "web", "mail") as told:
            for change, name in (
                (lambda: etcd.put("mail/x", "x"), "mail"),
                (lambda: etcd.put("web/ours", "theirs"), "web"),
                (lambda: etcd.put(".kvsync/web/ours", "{}"), "web"),
                (lambda: etcd.delete("web/ours"), "web"),
            ):
                await asyncio.to_thread(change)
                assert await asyncio.wait_for(told.get(), BOUND) == name
            assert told.empty()


async def test_a_write_that_is_refused_hides_no_change(etcd: Member) -> None:
    """etcd answers it with the revision of the last change, which another program made: that is reported."""
    async with _connected(etcd) as store:
        await _listed(store, "web", "mail")
        etcd.put("web/theirs", "x")
        etcd.put("mail/x", "x")
        assert [one.status for one in await store.write("web", [creation("theirs")])] == ["conflict"]
        async with _watching(store, "web", "mail") as told:
            assert {await asyncio.wait_for(told.get(), BOUND) for _ in range(2)} == {"web", "mail"}


async def test_many_namespaces_are_watched(etcd: Member) -> None:
    """As many as are watched at a time: a change in each of them is reported."""
    names = [f"n{number:03}" for number in range(MOST_WATCHED)]
    async with _connected(etcd) as store, _watching(store, *names) as told:
        missing = set(names)
        async with asyncio.timeout(BOUND):
            while missing:  # perhaps before it is watched, so once more
                await asyncio.to_thread(_touch, etcd, sorted(missing)[-100:])
                await asyncio.sleep(0.2)
                missing -= {told.get_nowait() for _ in range(told.qsize())}


@pytest.mark.system
async def test_a_watch_goes_on_after_a_restart_and_a_compaction(tmp_path: Path) -> None:
    """What was written while the connection was gone is reported, also when etcd has compacted it by then."""
    with running_members(tmp_path) as (member,):
        async with _connected(member) as store:
            await _listed(store, "web")
            async with _watching(store, "web") as told:
                for compacts in (False, True):
                    member.put("web/x", "before")
                    assert await asyncio.wait_for(told.get(), BOUND) == "web"
                    member.send(signal.SIGSTOP)
                    member.stop()
                    member.start()
                    await asyncio.to_thread(wait_until, lambda: _answers(member))
                    member.put("web/x", "meanwhile")
                    if compacts:
                        revision = member.ask("kv/range", key=b64("x"))["header"]["revision"]
                        member.ask("kv/compaction", revision=revision)
                    assert await asyncio.wait_for(told.get(), BOUND) == "web"


# Helpers


@asynccontextmanager
async def _connected(member: Member, **options: Any) -> AsyncIterator[Store]:
    """A connection until the end of the block."""
    store = etcd_store(member.url, **options)
    try:
        yield store
    finally:
        await store.aclose()


@asynccontextmanager
async def _watching(store: Store, *namespaces: str) -> AsyncIterator[asyncio.Queue[str]]:
    """Watch, again whenever that ends, as the daemon does; gives the reported namespaces."""
    assert isinstance(store, Watchable)
    told: asyncio.Queue[str] = asyncio.Queue()

    async def forever() -> None:
        while True:
            try:
                await store.watch(namespaces, told.put_nowait)
            except TransientError:
                await asyncio.sleep(0.05)

    task = asyncio.create_task(forever())
    try:
        yield told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _fill_up(store: Store) -> None:
    for number in range(100):
        await store.write("web", [creation(f"key-{number}", b"x" * 100_000)])


async def _reconnected(store: Store) -> None:
    """Read, which is repeated where the server closed the connection: a write would count as lost."""
    await store.read("web", [Identity("greeting")])


async def _listed(store: Store, *namespaces: str) -> None:
    for name in namespaces:
        assert await store.observe(name, MarkSigner("conformance", store.place(name))) is not None


def _harness(etcd: Member) -> StoreHarness:
    clock = FakeClock(time.time())

    async def pass_time(_seconds: float) -> None:
        return

    return StoreHarness(lambda: etcd_store(etcd.url, clock=clock), clock, pass_time, ("web", "mail"))


def _fill(etcd: Member, count: int) -> None:
    keys = [f"filled/key-{number:05}" for number in range(count)]
    for start in range(0, count, 100):
        puts = [{"request_put": {"key": b64(key), "value": b64("x")}} for key in keys[start : start + 100]]
        etcd.ask("kv/txn", success=puts)


def _touch(etcd: Member, namespaces: Sequence[str]) -> None:
    puts = [{"request_put": {"key": b64(f"{name}/x"), "value": b64("x")}} for name in namespaces]
    etcd.ask("kv/txn", success=puts)


def _answers(member: Member) -> bool:
    return is_healthy(member.url)


def _turn_on_authentication(member: Member) -> str:
    """A user kvsync that may write below web and its sidecars; gives a token of root."""
    steps: list[tuple[str, dict[str, Any]]] = [
        ("auth/user/add", {"name": "root", "password": "root-pass"}),
        ("auth/role/add", {"name": "root"}),
        ("auth/user/grant", {"user": "root", "role": "root"}),
        ("auth/user/add", {"name": "kvsync", "password": "correct-horse"}),
        ("auth/role/add", {"name": "web"}),
        ("auth/user/grant", {"user": "kvsync", "role": "web"}),
    ]
    for start in ("web/", ".kvsync/web/"):
        permission = {"permType": "READWRITE", "key": b64(start), "range_end": b64(f"{start[:-1]}0")}
        steps.append(("auth/role/grant", {"name": "web", "perm": permission}))
    for path, body in (*steps, ("auth/enable", {})):
        member.ask(path, **body)
    token: str = member.ask("auth/authenticate", name="root", password="root-pass")["token"]
    return token


def _as_root(member: Member, token: str, path: str, **body: Any) -> None:
    ask("POST", f"{member.url}/v3/{path}", as_json(body), {"Authorization": token})


async def _patiently(store: Store, writes: Sequence[Write]) -> Any:
    for _ in range(100):
        try:
            return await store.write("web", writes)
        except TransientError:
            await asyncio.sleep(0.1)
    raise AssertionError("the server did not start")


def _certificate() -> tuple[str, str]:
    """A certificate that signs itself, for server and client, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "etcd")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return built.public_bytes(Encoding.PEM).decode(), pem
