"""Claims: one replica a target, and no state written under a claim that is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kvsync.errors import ClaimHeld, ClaimLost, StateDirError, StateRolledBack
from kvsync.model.entry import Target
from kvsync.state import RunStatus, StateDir
from kvsync.state.claims import Replica, bind_pass
from kvsync.state.postgres_database import PostgresAddress, upgrade
from tests.state.examples import KEY, WEB, WEB_AT, WEB_KEY, applied, update
from tests.support.postgres import Cluster

API = Target("edge", "api")
LONG, SHORT = 60.0, 0.3


@pytest.fixture
def address(cluster: Cluster) -> PostgresAddress:
    address = PostgresAddress.of(cluster.new_database("claimed"))
    upgrade(address, create=True)
    return address


@pytest.fixture
def replica(address: PostgresAddress, tmp_path: Path) -> Iterator[Callable[..., StateDir]]:
    """Opens the state as a replica of this name, registered for so many seconds."""
    with ExitStack() as stack:

        def opened(name: str, lease: float = LONG) -> StateDir:
            state = stack.enter_context(StateDir.open_postgres(tmp_path / name, address, writable=True))
            state.join(Replica(name, "host", 1, "1", "me")).register(lease)
            return state

        yield opened


def claims_of(state: StateDir):  # type: ignore[no-untyped-def]
    assert state.claims is not None
    return state.claims


def ended(state: StateDir, name: str) -> None:
    """Wait until the database says that a lease is over."""
    deadline = time.monotonic() + 20
    while any(one.id == name for one in state.replicas()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_target_has_one_holder_until_its_lease_ends(replica: Callable[..., StateDir]) -> None:
    """A living replica keeps what it claimed; a dead one loses it, under a higher fencing number."""
    one, two = replica("one", SHORT), replica("two")
    assert claims_of(one).take([WEB, API], {}) == [API, WEB]
    first = claims_of(one).held[WEB]
    claims_of(one).beat(SHORT, 0.0, is_draining=False, revision=None)
    assert claims_of(two).take([WEB], {}) == []
    with pytest.raises(ClaimHeld, match=r"edge/web: one holds this target"):
        claims_of(two).ensure(WEB)
    ended(two, "one")
    assert claims_of(two).take([WEB], {}) == [WEB]
    assert claims_of(two).held[WEB] > first
    assert not claims_of(one).beat(SHORT, 0.0, is_draining=False, revision=None)
    assert claims_of(one).held == {}
    claims_of(one).register(LONG)
    assert claims_of(one).take([WEB, API], {}) == [API]


async def test_nothing_is_recorded_under_a_claim_that_is_over(replica: Callable[..., StateDir]) -> None:
    """Intents, outcomes, ledger and results of a pass are refused once another replica has the target, and once the lease is
    over although nobody took it; those of other targets are not."""
    one, two = replica("one", SHORT), replica("two")
    claims_of(one).take([WEB], {})
    begun = one.journal.begin("run")

    async def write() -> None:
        bind_pass(WEB)
        begun.intend(WEB_AT, [update(KEY, "a", "b")])
        one.ledger.record(WEB_KEY, {KEY: applied("b")})
        one.passes.record(WEB, 1.0)

    await asyncio.create_task(write())
    ended(two, "one")
    for takes in (False, True):
        if takes:
            assert claims_of(two).take([WEB], {}) == [WEB]
        with pytest.raises(ClaimLost, match="edge/web: this replica does not hold the claim"):
            await asyncio.create_task(write())
    assert len(two.journal.changes(begun.id)) == 1
    one.pauses.pause("edge", None, None, 1.0)


def test_given_up_is_free_at_once(replica: Callable[..., StateDir]) -> None:
    """Who gives targets up, or leaves, lets others take them without waiting for a lease."""
    one, two = replica("one"), replica("two")
    claims_of(one).take([WEB, API], {})
    claims_of(one).give_up([WEB])
    assert claims_of(two).take([WEB, API], {}) == [WEB]
    claims_of(one).leave()
    assert claims_of(two).take([API], {}) == [API]
    assert [one.id for one in two.replicas()] == ["two"]


def test_only_runs_of_dead_replicas_are_interrupted(replica: Callable[..., StateDir]) -> None:
    """A replica that starts leaves the runs of living ones alone, and closes those that a dead one left open."""
    one, two = replica("one", SHORT), replica("two")
    begun = one.journal.begin("run")
    assert two.journal.close_interrupted() == []
    ended(two, "one")
    assert [record.id for record in two.journal.close_interrupted()] == [begun.id]
    assert two.journal.run(begun.id).status is RunStatus.INTERRUPTED


def test_a_database_that_forgot_fencing_numbers_is_noticed(
    replica: Callable[..., StateDir], address: PostgresAddress
) -> None:
    """After a failover to a standby that lost transactions numbers would repeat: every claim is dropped, and later numbers are
    higher than any before."""
    one = replica("one")
    claims_of(one).take([WEB], {})
    claims_of(one).take([API], {})
    highest = max(claims_of(one).held.values())
    with one.database.transaction() as statements:
        statements.execute("SELECT setval('fences', 1)")
    with pytest.raises(StateRolledBack, match="forgotten committed transactions"):
        claims_of(one).beat(LONG, 0.0, is_draining=False, revision=None)
    assert claims_of(one).held == {}
    claims_of(one).register(LONG)
    claims_of(one).take([WEB], {})
    assert claims_of(one).held[WEB] > highest


def test_a_database_that_is_down_is_named_and_found_again(
    cluster: Cluster, replica: Callable[..., StateDir], address: PostgresAddress
) -> None:
    """While the server is down, calls fail with its address and no password; afterwards the same state goes on."""
    one = replica("one")
    begun = one.journal.begin("run")
    cluster.control("-m", "immediate", "stop")
    try:
        with pytest.raises(StateDirError, match=rf"state in postgresql://127\.0\.0\.1:{cluster.port}/claimed: "):
            begun.finish()
    finally:
        cluster.start()
    deadline = time.monotonic() + 20
    while True:
        try:
            begun.finish()
            break
        except StateDirError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert one.journal.run(begun.id).status is RunStatus.FINISHED
