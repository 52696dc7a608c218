"""The lease in a real etcd, as its own client tools see it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from kvsync.app.leadership import leading
from kvsync.errors import StoreError, TransientError
from kvsync.leader.division import DivisionRecord, DivisionWatch
from kvsync.leader.elector import Elector
from kvsync.leader.etcd import EtcdLeaseStore
from kvsync.leader.etcd_gateway import Gateway, GatewayAccess
from kvsync.leader.model import LeaseClaim, Timing
from kvsync.model.revision import AppliedRevision
from kvsync.util.clock import Clock
from tests.http.script_server import Exchange, is_silent, says, serving
from tests.leader.support import wire_to
from tests.support.etcd import free_port, running_etcd, running_members
from tests.support.memory_repository import MemoryRepository


def keeper(
    key: str,
    identity: str,
    *urls: str,
    duration: float = 60,
    timeout: float = 30,
    password: Callable[[], str] | None = None,
) -> EtcdLeaseStore:
    access = GatewayAccess(None if password is None else ("kvsync", password))
    return EtcdLeaseStore(
        key, identity, duration, [Gateway("lease test", url, Clock(), timeout, access) for url in urls]
    )


@asynccontextmanager
async def keepers(key: str, url: str, *names: str, duration: float = 60) -> AsyncIterator[list[EtcdLeaseStore]]:
    async with AsyncExitStack() as stack:
        found = [keeper(key, name, url, duration=duration) for name in names]
        for one in found:
            stack.push_async_callback(one.aclose)
        yield found


def post(url: str, path: str, body: dict[str, Any], token: str = "") -> Any:
    """What etcd says to someone else."""
    request = urllib.request.Request(
        f"{url}/v3/{path}", json.dumps(body).encode(), {"Authorization": token} if token else {}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.readline())


def text(value: str) -> str:
    return b64encode(value.encode()).decode()


def stored(url: str, key: str) -> str | None:
    """What the key holds."""
    found = post(url, "kv/range", {"key": text(key)}).get("kvs", [])
    return b64decode(found[0]["value"]).decode() if found else None


async def test_the_first_leads_and_the_others_hear_who(etcd: str, key: str) -> None:
    """The key names the leader; a later candidate learns it, and the leader goes on leading."""
    async with keepers(key, etcd, "a", "b") as (a, b):
        first = await a.claim()
        assert (first.leader, first.is_ours) == ("a", True)
        assert first.duration >= 60
        assert await b.claim() == LeaseClaim("a")
        assert (await a.claim()).is_ours
        assert stored(etcd, key) == "a"


async def test_of_many_who_claim_at_once_one_leads(etcd: str, key: str) -> None:
    """The key is made by one of them, whoever was faster at anything else."""
    names = [f"r{number}" for number in range(8)]
    async with keepers(key, etcd, *names) as found:
        claims = await asyncio.gather(*(one.claim() for one in found))
    assert sum(claim.is_ours for claim in claims) == 1
    assert {claim.leader for claim in claims} == {stored(etcd, key)}


async def test_who_releases_is_followed_at_once(etcd: str, key: str) -> None:
    """Releasing removes the key, and nobody has to wait for the end of the lease."""
    async with keepers(key, etcd, "a", "b") as (a, b):
        await a.claim()
        await a.release()
        assert stored(etcd, key) is None
        assert (await b.claim()).is_ours
        await a.release()  # once more does no harm, also to the new leader
        assert stored(etcd, key) == "b"


async def test_the_lease_of_one_that_is_silent_ends(etcd: str, key: str) -> None:
    """Without a renewal etcd removes the key, another one leads, and the first one hears so."""
    async with keepers(key, etcd, "a", duration=2) as (a,), keepers(key, etcd, "b") as (b,):
        await a.claim()
        async with asyncio.timeout(60):
            while not (await b.claim()).is_ours:  # noqa: ASYNC110 - what is waited for is in another process
                await asyncio.sleep(0.1)
        assert await a.claim() == LeaseClaim("b")


async def test_a_key_that_was_taken_by_force_is_lost(etcd: str, key: str) -> None:
    """A lease that is alive is worth nothing when the key is not tied to it any more. A key without a lease would be waited for
    without end, so everyone hears what to do."""
    async with keepers(key, etcd, "a", "b") as (a, b):
        await a.claim()
        post(etcd, "kv/put", {"key": text(key), "value": text("an operator")})
        for one in (a, b, a):
            claim = await one.claim()
            assert (claim.leader, claim.is_ours) == ("an operator", False)
            assert claim.problem is not None
            assert "written by hand ('an operator')" in claim.problem
            assert claim.problem.endswith(f"run `etcdctl del {key}`")
        (found,) = await b.check()
        assert (found.ok, found.hint) == (False, f"run `etcdctl del {key}`")
        post(etcd, "kv/deleterange", {"key": text(key)})
        assert (await b.claim()).is_ours


async def test_no_lease_is_left_behind(etcd: str, key: str) -> None:
    """Who did not win gives back what it asked for, or etcd would keep one lease for each try. Leases of other tests may expire
    at any time."""

    def leases() -> set[str]:
        return {one["ID"] for one in post(etcd, "lease/leases", {}).get("leases", [])}

    before = leases()
    async with AsyncExitStack() as stack:
        found = [keeper(key, name, etcd, duration=600, timeout=30) for name in "abc"]
        for one in found:
            stack.push_async_callback(one.aclose)
        await asyncio.gather(*(one.claim() for one in found))
        assert len(leases() - before) == 1
        await asyncio.gather(*(one.release() for one in found))
    assert leases() <= before


async def test_an_answer_that_was_lost_is_looked_for(etcd: str, key: str) -> None:
    """Cut off while it claims, a replica finds out with its next claim whether it leads, and takes no second key."""
    async with wire_to(etcd) as wire, keepers(key, wire.url, "a") as (a,):
        await a.claim()
        patient, hasty = a._gateways, Gateway("lease test", wire.url, Clock(), 0.5)
        wire.cut()
        a._gateways = [hasty]
        with pytest.raises(TransientError, match=r"lease test: renewing it failed: no response from \S+ within 0.5 s"):
            await a.claim()
        a._gateways = patient
        wire.mend()
        await hasty.aclose()
        assert (await a.claim()).is_ours
        assert stored(etcd, key) == "a"


async def test_claims_that_are_broken_off_come_to_an_end(etcd: str, key: str) -> None:
    """Where a claim takes several round trips and has time for one or two alone, the next claim goes on from there."""
    async with keepers(key, etcd, "a") as (a,):
        asked: list[str] = []
        gateway, ask = a._gateways[0], a._gateways[0].ask

        async def slow(path: str, what: str, body: Any) -> Any:
            asked.append(path)
            if len(asked) in (2, 4):  # the time of the first two claims is over here
                raise TransientError("too slow")
            return await ask(path, what, body)

        gateway.ask = slow  # type: ignore[method-assign]
        for _ in range(2):
            with pytest.raises(TransientError):
                await a.claim()
        assert (await a.claim()).is_ours
    assert asked[:4] == ["kv/range", "lease/grant", "lease/grant", "kv/txn"]
    assert asked.count("lease/grant") == 2


@pytest.mark.system
async def test_someone_leads_where_a_round_trip_takes_long(etcd: str, key: str) -> None:
    """With the default times and a round trip of 1.4 s one of two replicas comes to lead, and renews its lease in time: on a
    busy machine perhaps not each time, but twice."""
    async with wire_to(etcd) as wire, AsyncExitStack() as stack:
        wire.delay = 0.7
        found = {name: keeper(key, name, wire.url, duration=10, timeout=7) for name in "ab"}
        for one in found.values():
            stack.push_async_callback(one.aclose)
        electors = [Elector(one, name, Timing(10, 7, 2), Clock(), Random(1)) for name, one in found.items()]
        for elector in electors:
            stack.push_async_callback(cancelled, asyncio.create_task(elector.run(lambda: None)))
        async with asyncio.timeout(180):
            left, renewals = [0.0, 0.0], 0
            while renewals < 2:
                await asyncio.sleep(0.05)
                before, left = left, [one.seconds_left() for one in electors]
                assert min(left) == 0, "both lead"
                renewals += sum(now > then > 0 for now, then in zip(left, before, strict=True))


async def cancelled(task: asyncio.Task[None]) -> None:
    """End a task, and wait until it has ended."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_another_endpoint_is_tried_next(etcd: str, key: str) -> None:
    """Of several endpoints one that fails is followed by the next."""
    gone = f"http://127.0.0.1:{free_port()}"
    one = keeper(key, "a", gone, etcd)
    with pytest.raises(TransientError, match="no connection"):
        await one.claim()
    assert (await one.claim()).is_ours
    await one.aclose()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"result": ', b'{"error": {"message": "no leader"}}'])
async def test_what_is_not_an_answer_of_etcd_is_an_error_to_try_again(key: str, body: bytes) -> None:
    """A proxy's page, a body that was cut off, or an error in place of the first message never make a leader."""
    async with serving(says(200, body)) as server:
        one = keeper(key, "a", server.origin)
        with pytest.raises(TransientError, match="lease test: reading the leader failed: "):
            await one.claim()
        await one.aclose()


async def test_an_etcd_that_is_silent_is_given_up_in_time(key: str) -> None:
    """No claim takes longer than its timeout, and releasing what was never had asks nobody."""
    async with serving(is_silent) as server:
        one = EtcdLeaseStore(key, "a", 2, [Gateway("lease test", server.origin, Clock(), 0.1)])
        with pytest.raises(TransientError, match=r"no response from \S+ within 0.1 s"):
            await one.claim()
        await one.release()
        await one.aclose()


async def test_doctor_hears_whether_it_is_reached_and_who_leads(etcd: str, key: str) -> None:
    """Checking changes nothing."""
    async with keepers(key, etcd, "a", "b") as (a, b):
        (free,) = await b.check()
        await a.claim()
        (taken,) = await b.check()
    assert [(one.ok, one.detail) for one in (free, taken)] == [(True, "no replica is the leader"), (True, "a leads")]
    gone = keeper(key, "a", f"http://127.0.0.1:{free_port()}")
    (found,) = await gone.check()
    assert not found.ok
    await gone.aclose()


def turn_on_authentication(url: str) -> None:
    """From now on the user kvsync may use its key, and needs a password."""
    for path, body in (
        ("auth/user/add", {"name": "root", "password": "root-pass"}),
        ("auth/role/add", {"name": "root"}),
        ("auth/user/grant", {"user": "root", "role": "root"}),
        ("auth/user/add", {"name": "kvsync", "password": "correct-horse"}),
        ("auth/role/add", {"name": "lease"}),
        ("auth/role/grant", {"name": "lease", "perm": {"permType": "READWRITE", "key": text("kvsync/leader")}}),
        ("auth/user/grant", {"user": "kvsync", "role": "lease"}),
        ("auth/enable", {}),
    ):
        post(url, path, body)


async def test_a_signed_token_is_fetched_again_when_it_counts_no_more(tmp_path: Path) -> None:
    """A change of any user makes etcd refuse all JWTs, without the status 401: the leader signs in again, and still leads."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    (tmp_path / "pub.pem").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    files = f"pub-key={tmp_path}/pub.pem,priv-key={tmp_path}/key.pem"
    with running_etcd(tmp_path, f"--auth-token=jwt,{files},sign-method=RS256,ttl=10m") as url:
        turn_on_authentication(url)
        one = keeper("kvsync/leader", "a", url, password=lambda: "correct-horse")
        assert (await one.claim()).is_ours
        root = post(url, "auth/authenticate", {"name": "root", "password": "root-pass"})["token"]
        post(url, "auth/user/add", {"name": "another-team", "password": "x"}, root)
        assert (await one.claim()).is_ours
        await one.aclose()


async def test_a_sign_in_outlives_the_claims_that_wait_for_it(key: str) -> None:
    """Checking a password may take longer than a claim: the calls of all claims share one sign-in, and one of them uses it."""
    is_asked, is_checked, sign_ins = asyncio.Event(), asyncio.Event(), []

    async def act(exchange: Exchange) -> None:
        if "/auth/authenticate" not in exchange.line:
            is_known = exchange.headers.get("authorization") == "token-1"
            await (says(200, b"{}") if is_known else says(401, b'{"message": "invalid auth token"}'))(exchange)
            return
        sign_ins.append(exchange.line)
        is_asked.set()
        await is_checked.wait()
        await says(200, f'{{"token": "token-{len(sign_ins)}"}}'.encode())(exchange)

    async with serving(act) as server:
        one = keeper(key, "a", server.origin, password=lambda: "correct-horse")
        for _ in range(3):
            claim = asyncio.ensure_future(one.check())
            await is_asked.wait()
            claim.cancel()
            await asyncio.gather(claim, return_exceptions=True)
        is_checked.set()
        assert [found.ok for found in await one.check()] == [True]
        await one.aclose()
    assert len(sign_ins) == 1


async def test_name_and_password(tmp_path: Path) -> None:
    """With authentication on: a right password leads also after etcd forgot its tokens, a wrong one and a missing permission
    say so, and no message holds the password."""
    with running_etcd(tmp_path, "--auth-token=simple") as url:
        turn_on_authentication(url)
        one = keeper("kvsync/leader", "a", url, password=lambda: "correct-horse")
        assert (await one.claim()).is_ours
        root = post(url, "auth/authenticate", {"name": "root", "password": "root-pass"})["token"]
        post(url, "auth/user/changepw", {"name": "kvsync", "password": "correct-horse"}, root)  # ends all its tokens
        assert (await one.claim()).is_ours
        await one.aclose()
        elsewhere = keeper("other/leader", "a", url, password=lambda: "correct-horse")
        (found,) = await elsewhere.check()
        assert not found.ok
        assert "grant kvsync read and write on the key of the lease" in found.detail
        await elsewhere.aclose()
        wrong = keeper("kvsync/leader", "b", url, password=lambda: "battery-staple")
        with pytest.raises(StoreError, match="signing in as kvsync") as refused:
            await wrong.claim()
        assert "battery-staple" not in str(refused.value)
        await wrong.aclose()


async def test_a_server_that_asks_for_a_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease is kept in an etcd that trusts certificates of its own authority alone; without one it is out of reach."""
    authority = trustme.CA()
    server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("kvsync")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server.private_key_pem.write_to_path(tmp_path / "server.key")
    server.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    monkeypatch.setenv("CERT", client.cert_chain_pems[0].bytes().decode())
    monkeypatch.setenv("KEY", client.private_key_pem.bytes().decode())
    files = [f"--cert-file={tmp_path}/server.pem", f"--key-file={tmp_path}/server.key", "--client-cert-auth"]
    (tmp_path / "repo").mkdir()
    repo = MemoryRepository(tmp_path / "repo", monkeypatch)
    with running_members(tmp_path, 1, *files, f"--trusted-ca-file={tmp_path}/ca.pem", scheme="https") as (member,):
        for tls, is_reached in (("cert: {env: CERT}, key: {env: KEY}, ca: ../ca.pem", True), ("ca: ../ca.pem", False)):
            etcd = f"{{endpoint: '{member.url}', key: kvsync/leader, tls: {{{tls}}}}}"
            repo.configure(more=f"run: {{lease: {{etcd: {etcd}}}}}")
            async with repo.open(environ=os.environ) as workspace, leading(workspace, os.environ) as elector:
                assert elector is not None
                if is_reached:
                    await patiently(elector.turn)
                    assert elector.may_write()
                    await elector.release()
                else:
                    with pytest.raises(StoreError, match="connection"):
                        await elector.turn()


async def test_a_claim_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever sends requests is imported before the first claim, which has seconds to succeed."""
    repo = MemoryRepository(tmp_path, monkeypatch)
    repo.configure(more=f"run: {{lease: {{etcd: {{endpoint: 'http://127.0.0.1:{free_port()}', key: kvsync/leader}}}}}}")
    async with repo.open() as workspace:
        monkeypatch.delitem(sys.modules, "kvsync.http.transport", raising=False)
        async with leading(workspace, os.environ) as elector:
            assert elector is not None
            before = set(sys.modules)
            with pytest.raises(StoreError, match="no connection"):
                await elector.turn()
            assert {name for name in set(sys.modules) - before if name.startswith("kvsync")} == set()


async def patiently(claim: Callable[[], Awaitable[None]]) -> None:
    """Claim until etcd has started."""
    for _ in range(100):
        with suppress(StoreError):
            return await claim()
        await asyncio.sleep(0.1)
    return await claim()


async def test_replicas_that_divide_the_work_in_another_way_are_noticed(etcd: str, key: str) -> None:
    """Leaders of other shares are known, and those with another number of shares, owner or lease; a leader that left is not."""
    folder = f"{key}/"
    leases = {name: folder + name for name in ("leader-1-of-2", "leader-2-of-2", "leader-1-of-3", "leader", "second")}
    mine = DivisionRecord(leases["leader-1-of-2"], "a", "shop", "stores")
    others = {
        "leader-2-of-2": DivisionRecord(leases["leader-2-of-2"], "b", "shop", "stores"),
        "leader-1-of-3": DivisionRecord(leases["leader-1-of-3"], "c", "shop", "stores"),
        "leader": DivisionRecord(leases["leader"], "d", "mail", "stores"),
        "second": DivisionRecord(leases["second"], "e", "shop", "stores"),
    }
    async with AsyncExitStack() as stack:
        found = {}
        for name in leases:
            leader = mine.leader if name == "leader-1-of-2" else others[name].leader
            (found[name],) = await stack.enter_async_context(keepers(leases[name], etcd, leader))
            await found[name].claim()
        watch = DivisionWatch(found["leader-1-of-2"], mine, Clock())
        assert await seen(watch) == ({"1/2": "a", "2/2": None}, ())
        for name, division in others.items():
            await DivisionWatch(found[name], division, Clock()).refresh(leads=True)
        leaders, conflicts = await seen(watch)
        assert leaders == {"1/2": "a", "2/2": "b"}
        said = " ".join(conflicts)
        assert "its leader c divides the targets into 3 shares, this replica into 2" in said
        assert "its leader d has the owner mail, this replica the owner shop" in said
        assert (
            f"its leader e writes to the same stores for the owner shop as the replicas of the lease {folder}leader;"
            in said
        )
        assert len(conflicts) == 3
        for name in others:
            await found[name].release()
        assert await seen(watch) == ({"1/2": "a", "2/2": None}, ())


async def seen(watch: DivisionWatch) -> tuple[Mapping[str, str | None], tuple[str, ...]]:
    """What a leader finds out."""
    await watch.refresh(leads=True)
    return watch.leaders, watch.conflicts


async def test_what_leaders_applied_is_known_to_the_next(etcd: str, key: str) -> None:
    """The revisions outlive the leader who recorded them, in order; nobody else records any."""
    first, second = (AppliedRevision(revision, None, 1.5, "a") for revision in ("r1", "r2"))
    async with keepers(key, etcd, "a", "b") as (a, b):
        await a.claim()
        assert await b.revisions() == ()
        await a.add_revision(first)
        await a.add_revision(second)
        with pytest.raises(TransientError, match="does not lead"):
            await b.add_revision(first)
        await a.release()
        with pytest.raises(TransientError, match="does not lead"):
            await a.add_revision(first)
        await b.claim()
        assert await b.revisions() == (first, second)
