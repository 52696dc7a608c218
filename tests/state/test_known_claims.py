"""A replica knows who holds which target without reading all claims at every renewal."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest

from kvsync.app.fleet import fleet_of
from kvsync.leader.known_claims import KnownClaims
from kvsync.model.entry import Target
from kvsync.state.claims import Replica, TargetClaims
from kvsync.state.postgres_address import PostgresAddress
from kvsync.state.postgres_database import PostgresDatabase, upgrade
from kvsync.util.clock import Clock
from kvsync.util.write_fence import Fence
from tests.support.postgres import Cluster, running_cluster

TARGETS = frozenset(Target("edge", f"n{number}") for number in range(30))
LONG = 600.0
DATABASE = "known"


@pytest.fixture(scope="module")
def counting() -> Iterator[Cluster]:
    """A server that counts the rows that statements return."""
    with running_cluster(shared_preload_libraries="pg_stat_statements") as cluster:
        with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements")
        yield cluster


@pytest.fixture
def joined(counting: Cluster) -> Iterator[Callable[[str], TargetClaims]]:
    """Joins a replica of this name, whose lease is long."""
    address = PostgresAddress.of(counting.new_database(DATABASE))
    upgrade(address, create=True)
    with ExitStack() as stack:

        def join(name: str) -> TargetClaims:
            database = PostgresDatabase(address, read_only=False)
            stack.callback(database.close)
            claims = TargetClaims(database, Replica(name, "host", 1, "1", "me"), "state")
            claims.register(LONG)
            return claims

        yield join


def rows_of(cluster: Cluster) -> int:
    """How many rows the statements over the state returned since this was last asked."""
    sql = "SELECT coalesce(sum(rows), 0) FROM pg_stat_statements JOIN pg_database ON oid = dbid WHERE datname = %s"
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        found = connection.execute(sql, (DATABASE,)).fetchone()
        connection.execute("SELECT pg_stat_statements_reset()")
    assert found is not None
    return int(found[0])


async def test_a_step_without_news_reads_no_claims(counting: Cluster, joined: Callable[[str], TargetClaims]) -> None:
    """However many targets there are, also while what they cost changes."""
    fleets = [fleet_of(joined(name), Clock(), Fence()) for name in ("one", "two")]
    for fleet in fleets:
        fleet.wants(TARGETS)
    for _ in range(20):
        for fleet in fleets:
            await fleet.turn()
    rows_of(counting)
    for fleet in fleets:
        fleet.spent(next(target for target in TARGETS if fleet.owns(target)), 0.05)
        await fleet.turn()
    assert rows_of(counting) < len(TARGETS)
    assert sum(fleet.owns(target) for target in TARGETS for fleet in fleets) == len(TARGETS)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_known_is_what_the_database_has(seed: int, joined: Callable[[str], TargetClaims]) -> None:
    """Whatever the other replicas take, give up, or take over from one that died."""
    chance, watcher = random.Random(seed), joined("watcher")
    known, alive = KnownClaims(watcher), {name: joined(name) for name in "abc"}
    for step in range(60):
        name = chance.choice(sorted(alive))
        some = chance.sample(sorted(TARGETS), chance.randint(1, 10))
        act = chance.randint(0, 9)
        if act < 5:
            alive[name].take(some, {})
        elif act < 8:
            alive[name].give_up([target for target in some if target in alive[name].held])
        elif act == 8:
            alive.pop(name).renew(0.0, 0.0, is_draining=False, revision=None)
            alive[f"{name}{step}"] = joined(f"{name}{step}")
        else:
            alive[name].register(LONG)  # as after its lease ended: all its claims are over
        if chance.random() < 0.7:
            known.read(TARGETS)
            found = watcher.holders()
            living = {target: claim.replica for target, claim in found.items() if claim.is_alive}
            assert {target: one.replica for target, one in known.holders.items() if one.is_alive} == living
            assert set(known.unclaimed) == TARGETS - living.keys()
            sums = {one.id: (one.targets, one.cost) for one in known.replicas if one.targets}
            assert sums == {
                one: (held, float(held)) for one in living.values() if (held := list(living.values()).count(one))
            }


def test_other_files_name_other_targets(joined: Callable[[str], TargetClaims]) -> None:
    """What nobody holds is looked for again when the files change, although no claim did."""
    known, claims = KnownClaims(joined("one")), joined("two")
    first, second, third = sorted(TARGETS)[:3]
    claims.take([first], {})
    known.read({first, second})
    assert list(known.unclaimed) == [second]
    known.read({first, third})
    assert list(known.unclaimed) == [third]
