"""The lease as an object of Kubernetes, against a small API server of our own: no real one is at hand (see its docstring)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kvsync.errors import AuthError, PermanentError, TransientError
from kvsync.leader.division import DivisionRecord, DivisionWatch
from kvsync.leader.in_cluster import in_cluster, own_namespace
from kvsync.leader.kubernetes import KubernetesLeaseStore, LeaseName
from kvsync.leader.model import LeaseClaim
from kvsync.model.revision import AppliedRevision
from kvsync.testing import FakeClock
from kvsync.util.clock import Clock
from tests.daemon.conftest import log
from tests.daemon.support import Log
from tests.leader.kubernetes_api import Cluster, cluster

__all__ = ["log"]

NAME = LeaseName("kvsync", "kvsync")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path) as found:
        yield found


@asynccontextmanager
async def keepers(api: Cluster, *names: str, lease: LeaseName = NAME) -> AsyncIterator[list[Any]]:
    """A keeper for each name, with a clock of its own that stands still; the last of the list are the clocks."""
    clocks = [FakeClock() for _ in names]
    found = []
    for name, clock in zip(names, clocks, strict=True):
        client = in_cluster("lease test", Clock(), 60, api.environ, Path.read_text, api.folder)
        found.append(KubernetesLeaseStore(lease, name, 10, client, clock))
    try:
        yield [*found, clocks]
    finally:
        for one in found:
            await one.aclose()


async def test_the_first_makes_the_lease_and_the_others_hear_who(api: Cluster) -> None:
    """The object is made as other components make theirs; a later candidate learns who leads, and for how long at most."""
    async with keepers(api, "a", "b") as (a, b, _):
        assert await a.claim() == LeaseClaim("a", is_ours=True, duration=10)
        assert await b.claim() == LeaseClaim("a", again_in=10)
    spec = api.spec()
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("a", 10, 0)


async def test_of_many_who_claim_at_once_one_leads(api: Cluster) -> None:
    """Creating and taking over are both won by one, whatever they all read before."""
    async with keepers(api, *"abcdef") as (*found, clocks):
        claims = await asyncio.gather(*(one.claim() for one in found))
        assert sum(claim.is_ours for claim in claims) == 1
        api.edit(holderIdentity="gone", renewTime="2020-01-01T00:00:00.000000Z")
        assert not any([(await one.claim()).is_ours for one in found])
        for clock in clocks:
            clock.advance(10)
        claims = await asyncio.gather(*(one.claim() for one in found))
        assert sum(claim.is_ours for claim in claims) == 1
    assert api.spec()["leaseTransitions"] == 1


async def test_a_renewal_is_seen_although_the_wall_clock_stands_still(api: Cluster) -> None:
    """The time of a renewal always increases, so that nobody takes a leader with a broken clock for one that is gone."""
    async with keepers(api, "a") as (a, (clock,)):
        moments = []
        for step in (0, 0, -3600, *[0] * 20):  # more than one fraction of a microsecond is rounded to the next
            clock.advance(step)
            await a.claim()
            moments.append(api.spec()["renewTime"])
    assert moments == sorted(set(moments))


async def test_a_lease_is_taken_when_it_was_seen_not_to_change(api: Cluster) -> None:
    """Only the waiting replica's own clock counts, and not the moments in the object, be they past or to come."""
    async with keepers(api, "a", "b") as (a, b, (_, clock)):
        await a.claim()
        for moment in ("2001-01-01T00:00:00.000000Z", "2099-01-01T00:00:00.000000Z"):
            api.edit(renewTime=moment)
            assert await b.claim() == LeaseClaim("a", again_in=10)
            clock.advance(9.5)
            assert await b.claim() == LeaseClaim("a", again_in=0.5)
        await a.claim()
        assert await b.claim() == LeaseClaim("a", again_in=10), "a renewal is a sign of life"
        clock.advance(10)
        assert (await b.claim()).is_ours
        assert await a.claim() == LeaseClaim("b", again_in=10)


async def test_who_releases_is_followed_at_once(api: Cluster) -> None:
    """Releasing takes the name out of the object and leaves the object, also what others wrote in it."""
    async with keepers(api, "a", "b") as (a, b, _):
        await a.claim()
        api.objects["kvsync", "kvsync"]["metadata"]["annotations"] = {"team": "web"}
        await b.release()
        assert api.spec()["holderIdentity"] == "a", "only the leader releases"
        await a.release()
        assert api.spec()["holderIdentity"] == ""
        assert (await b.claim()).is_ours
    assert api.objects["kvsync", "kvsync"]["metadata"]["annotations"] == {"team": "web"}
    assert api.spec()["leaseTransitions"] == 1


async def test_someone_elses_edit_does_not_end_a_leadership(api: Cluster) -> None:
    """A 409 on a renewal is looked into: it may be an annotation; the leader goes on, with the newer version."""
    async with keepers(api, "a") as (a, _):
        await a.claim()
        send, edits = a._send, iter([True])

        async def edited(method: str, *rest: Any) -> Any:
            if method == "PUT" and next(edits, False):
                api.edit()
            return await send(method, *rest)

        a._send = edited
        assert (await a.claim()).is_ours
    assert [code for method, _, code in api.seen if method == "PUT"] == [409, 200]


async def test_a_lease_that_keeps_changing_is_tried_again_later(api: Cluster) -> None:
    """Two lost races in a row are an error that passes, and no claim."""
    async with keepers(api, "a") as (a, _):
        await a.claim()
        send = a._send

        async def edited(*rest: Any) -> Any:
            api.edit()
            return await send(*rest)

        a._send = edited
        with pytest.raises(
            TransientError, match="kvsync/kvsync in Kubernetes: it kept changing while kvsync tried to take it"
        ):
            await a.claim()


async def test_a_lease_that_was_deleted_is_made_again(api: Cluster) -> None:
    """Someone tidied up: the leader goes on."""
    async with keepers(api, "a") as (a, _):
        await a.claim()
        api.objects.clear()
        assert (await a.claim()).is_ours


async def test_a_replaced_token_is_used_at_once(api: Cluster) -> None:
    """The kubelet replaces the token before it ends; one that ended a moment too early is read again."""
    async with keepers(api, "a") as (a, _):
        await a.claim()
        api.rotate("token-2")
        assert (await a.claim()).is_ours
        api.tokens = {"token-3"}
        with pytest.raises(AuthError, match="the token of the service account is not valid") as refused:
            await a.claim()
    assert "token-2" not in str(refused.value)


@pytest.mark.parametrize("verb", ["get", "create", "update"])
async def test_what_is_forbidden_is_said_with_what_to_do(api: Cluster, verb: str) -> None:
    """A missing permission is named by the API itself, with the Role that would help; doctor finds it too."""
    async with keepers(api, "a", "b") as (a, b, _):
        if verb == "update":
            await a.claim()
        api.allowed.remove(verb)
        with pytest.raises(
            AuthError, match=f"cannot {verb} resource .leases.*bind a Role with get, list, create and update"
        ):
            await a.claim()
        found = await b.check()
    assert [one.ok for one in found if one.check == "permission"] == [False]
    assert verb in found[-1].detail


async def test_doctor_hears_who_leads_and_what_is_permitted(api: Cluster) -> None:
    """Checking changes nothing."""
    async with keepers(api, "a", "b") as (a, b, _):
        assert [(one.check, one.ok, one.detail) for one in await b.check()] == [
            ("reached", True, "no replica is the leader"),
            ("permission", True, "leases: get, update, create"),
        ]
        assert not api.objects
        await a.claim()
        assert [one.detail for one in await b.check()] == ["a leads", "leases: get, update"]


async def test_a_namespace_that_does_not_exist(api: Cluster) -> None:
    """The API's own words are in the message."""
    async with keepers(api, "a", lease=LeaseName("nowhere", "kvsync")) as (a, _):
        with pytest.raises(PermanentError, match=r'status 404 from 127\.0\.0\.1:\d+, namespaces "nowhere" not found'):
            await a.claim()


async def test_only_the_clusters_own_authority_is_trusted(api: Cluster) -> None:
    """A server with a certificate of anybody else is not told the token."""
    import trustme

    trustme.CA().cert_pem.write_to_path(str(api.folder / "ca.crt"))
    async with keepers(api, "a") as (a, _):
        with pytest.raises(PermanentError, match="the server's certificate is not trusted"):
            await a.claim()
    assert api.seen == []


def test_outside_of_a_cluster_it_says_so(tmp_path: Path) -> None:
    """Started elsewhere, it says what it is made for."""
    with pytest.raises(PermanentError, match=r"works inside a pod .*; KUBERNETES_SERVICE_HOST is not set"):
        in_cluster("lease x", Clock(), 5, {}, Path.read_text, tmp_path)
    with pytest.raises(PermanentError, match=r"missing .*ca\.crt"):
        in_cluster("lease x", Clock(), 5, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, Path.read_text, tmp_path)
    with pytest.raises(PermanentError, match=r"set run\.lease\.kubernetes\.namespace"):
        own_namespace("lease x", tmp_path)
    (tmp_path / "namespace").write_text("team\n")
    assert own_namespace("lease x", tmp_path) == "team"
    (tmp_path / "ca.crt").write_text("")
    client = in_cluster("x", Clock(), 5, {"KUBERNETES_SERVICE_HOST": "fd00::1"}, Path.read_text, tmp_path)
    assert client.origin == "https://[fd00::1]:443"


async def test_what_leaders_applied_is_known_to_the_next(api: Cluster) -> None:
    """The revisions are in the object and outlive the leader who recorded them; nobody else records any."""
    first, second = (AppliedRevision(revision, "c0ffee", 1.5, "a") for revision in ("r1", "r2"))
    async with keepers(api, "a", "b") as (a, b, _):
        await a.claim()
        await a.add_revision(first)
        await a.add_revision(second)
        with pytest.raises(TransientError, match="does not lead"):
            await b.add_revision(first)
        await a.claim()
        await a.release()
        await b.claim()
        assert await b.revisions() == (first, second)


async def test_replicas_that_divide_the_work_in_another_way_are_noticed(api: Cluster, log: Log) -> None:
    """Leaders of other shares are known as long as they renew their leases, and one with another number of shares; without the
    permission to list leases it is said once that nothing is known."""
    names = ("kvsync-1-of-2", "kvsync-2-of-2", "kvsync-1-of-3")
    divisions = [DivisionRecord(name, leader, "shop", "stores") for name, leader in zip(names, "abc", strict=True)]
    async with AsyncExitStack() as stack:
        found = []
        for one in divisions:
            lease = LeaseName("kvsync", one.lease)
            found.append(await stack.enter_async_context(keepers(api, one.leader, lease=lease)))
        for keeper, _ in found:
            await keeper.claim()
        watches = [DivisionWatch(keeper, one, Clock()) for (keeper, _), one in zip(found, divisions, strict=True)]
        await watches[0].refresh(leads=True)
        assert [event["event"] for event in log.events()] == ["division.unknown"]
        assert (watches[0].leaders, watches[0].conflicts) == ({}, ())
        api.allowed.add("list")
        for watch in reversed(watches):
            await watch.refresh(leads=True)
        assert watches[0].leaders == {"1/2": "a", "2/2": "b"}
        (conflict,) = watches[0].conflicts
        assert conflict.startswith(
            "lease kvsync-1-of-3: its leader c divides the targets into 3 shares, this replica into 2"
        )
        keeper, (clock,) = found[0]
        clock.advance(11)
        await keeper.claim()
        await watches[0].refresh(leads=True)
        assert (watches[0].leaders, watches[0].conflicts) == ({"1/2": "a", "2/2": None}, ())
