"""Claims: one replica a target, and no state written under a claim that is over."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kvsync.app.fleet import TIMING, fleet_of
from kvsync.errors import ClaimHeld, ClaimLost, NotLeader, StateDirError, StateNewer, StateRolledBack
from kvsync.model.entry import Target
from kvsync.model.revision import AppliedRevision
from kvsync.planning.waves import WaveRecord
from kvsync.state import CleanPass, RunStatus, StateDir
from kvsync.state.claims import Replica, unbound
from kvsync.state.postgres_address import PostgresAddress
from kvsync.state.postgres_database import REST_SECONDS, REST_SHARE, PostgresDatabase, upgrade
from kvsync.state.postgres_schema import STEPS, VERSION
from kvsync.state.postgres_statements import PostgresStatements
from kvsync.state.revisions import KEPT
from kvsync.testing import FakeClock
from kvsync.util.clock import Clock
from kvsync.util.write_fence import Fence
from tests.state.examples import KEY, WEB, WEB_AT, WEB_KEY, applied, update
from tests.support.postgres import Cluster

API = Target("edge", "api")
LONG = 60.0


@pytest.fixture
def address(cluster: Cluster) -> PostgresAddress:
    address = PostgresAddress.of(cluster.new_database("claimed"))
    upgrade(address, create=True)
    return address


@pytest.fixture
def replica(address: PostgresAddress, tmp_path: Path) -> Iterator[Callable[..., StateDir]]:
    """Opens the state as a replica of this name, registered for so many seconds."""
    with ExitStack() as stack:

        def opened(name: str, lease: float = LONG, owner: str = "me") -> StateDir:
            state = stack.enter_context(StateDir.open_postgres(tmp_path / name, address, writable=True))
            state.join(Replica(name, "host", 1, "1", owner)).register(lease)
            return state

        yield opened


def claims_of(state: StateDir):  # type: ignore[no-untyped-def]
    assert state.claims is not None
    return state.claims


def ended(state: StateDir, name: str) -> None:
    """Let a lease be over by the clock of the database."""
    with state.database.transaction() as statements:
        statements.execute("UPDATE replicas SET expires_at = clock_timestamp() WHERE id = ?", (name,))


def taken_over(one: StateDir, two: StateDir) -> None:
    """The lease of `one` ends, `two` has its target for a while, then `one` has it again."""
    with unbound():
        ended(two, "one")
    assert claims_of(two).take([WEB], {}) == [WEB]
    assert not claims_of(one).renew(LONG, 0.0, is_draining=False, revision=None)
    claims_of(one).register(LONG)
    claims_of(two).give_up([WEB])
    assert claims_of(one).take([WEB], {}) == [WEB]


@contextmanager
def meanwhile(work: Callable[[], Any], done: list[Any]) -> Iterator[None]:
    """Begin a call of another replica, give it time to get as far as it can, and let it end after the block."""
    with ThreadPoolExecutor() as pool:
        running = pool.submit(work)
        time.sleep(0.5)
        yield
        done.append(running)
    done[:] = [running.result()]


def test_a_target_has_one_holder_until_its_lease_ends(replica: Callable[..., StateDir]) -> None:
    """A living replica keeps what it claimed; a dead one loses it, under a higher fencing number."""
    one, two = replica("one"), replica("two")
    assert claims_of(one).take([WEB, API], {}) == [API, WEB]
    first = claims_of(one).held[WEB]
    claims_of(one).renew(LONG, 0.0, is_draining=False, revision=None)
    assert claims_of(two).take([WEB], {}) == []
    with pytest.raises(ClaimHeld, match=r"edge/web: one holds this target"):
        claims_of(two).ensure(WEB)
    ended(two, "one")
    assert claims_of(two).take([WEB], {}) == [WEB]
    assert claims_of(two).held[WEB] > first
    assert not claims_of(one).renew(LONG, 0.0, is_draining=False, revision=None)
    assert claims_of(one).held == {}
    claims_of(one).register(LONG)
    assert claims_of(one).take([WEB, API], {}) == [API]


async def test_nothing_is_recorded_under_a_claim_that_is_over(replica: Callable[..., StateDir]) -> None:
    """Intents, outcomes, ledger and results of a pass are refused once another replica has the target, and once the lease is
    over although nobody took it; those of other targets are not."""
    one, two = replica("one"), replica("two")
    claims_of(one).take([WEB], {})
    fence = claims_of(one).held[WEB]
    begun = one.journal.begin("run")

    async def write() -> None:
        claims_of(one).bind(WEB, fence)
        begun.intend(WEB_AT, [update(KEY, "a", "b")])
        one.ledger.record(WEB_KEY, {KEY: applied("b")})
        one.passes.record(WEB, 1.0)

    await asyncio.create_task(write())
    ended(two, "one")
    for takes in (False, True):
        if takes:
            assert claims_of(two).take([WEB], {}) == [WEB]
        with pytest.raises(ClaimLost, match="edge/web: this replica no longer holds the claim"):
            await asyncio.create_task(write())
    assert len(two.journal.changes(begun.id)) == 1
    one.pauses.pause("edge", None, None, 1.0)


async def test_a_pass_does_not_go_on_under_a_later_claim(replica: Callable[..., StateDir]) -> None:
    """A pass that began before its replica lost the target, and claimed it again, knows an old store: it neither records nor
    writes, although the lease of the replica runs."""
    one, two = replica("one"), replica("two")
    fence, clock = Fence(), Clock()
    fleet = fleet_of(claims_of(one), clock, fence)
    fleet.wants([WEB])
    await fleet.turn()
    run = one.journal.begin("run")

    async def write() -> None:
        claims_of(one).bind(WEB)
        fence.check()
        taken_over(one, two)
        assert fleet.may_write()
        with pytest.raises(NotLeader):
            fence.check()
        with pytest.raises(ClaimLost):
            run.intend(WEB_AT, [update(KEY, "a", "b")])
        claims_of(one).bind(WEB)  # the next pass
        fence.check()
        run.intend(WEB_AT, [update(KEY, "a", "b")])

    await asyncio.create_task(write())


def test_who_takes_over_recovers_what_was_cut_off(replica: Callable[..., StateDir]) -> None:
    """Intents of a replica that died, or whose lease ended while it could not say so, are known to the next holder."""
    one, two = replica("one"), replica("two")
    claims_of(one).take([WEB], {})
    one.journal.begin("run").intend(WEB_AT, [update(KEY, "a", "b")])
    assert two.journal.cut_off(WEB_AT) == []
    ended(two, "one")
    claims_of(two).take([WEB], {})
    assert [change.identity for change in two.journal.cut_off(WEB_AT)] == [KEY]


def test_a_renewal_under_way_is_waited_for(replica: Callable[..., StateDir]) -> None:
    """A lease that is renewed in its last moment was never over for anyone."""
    one, two = replica("one"), replica("two")
    claims_of(one).take([WEB], {})
    ended(one, "one")
    found: list[Any] = []
    with one.database.transaction() as statements:
        statements.execute("UPDATE replicas SET expires_at = clock_timestamp() + interval '60 s' WHERE id = 'one'")
        with meanwhile(lambda: claims_of(two).take([WEB], {}), found):
            statements.execute("COMMIT")
            statements.execute("BEGIN")
    assert found == [[]]


def test_a_lease_is_renewed_while_a_pass_waits(replica: Callable[..., StateDir], address: PostgresAddress) -> None:
    """Where the statements of passes wait, for a table that someone locked or for a slow disk, no lease ends because of it."""
    one = replica("one")
    with psycopg.connect(address.dsn) as other, ThreadPoolExecutor(1) as thread:
        other.execute("LOCK TABLE runs")
        begun = thread.submit(one.journal.begin, "run")
        while not other.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
            assert not begun.done()
        assert claims_of(one).renew(LONG, 0.0, is_draining=False, revision=None)
        assert not begun.done()
        other.rollback()
        assert begun.result().id


def test_of_many_calls_that_wait_only_the_first_is_waited_for(address: PostgresAddress) -> None:
    """After a statement that took too long, calls fail at once for a second: passes, one after the other, hold nothing up."""
    now = [0.0]
    database = PostgresDatabase(address, read_only=False, monotonic=lambda: now[0])
    with psycopg.connect(address.dsn) as other, ThreadPoolExecutor(1) as thread, closing(database):
        other.execute("LOCK TABLE pauses")
        waiting = thread.submit(database.query, "SELECT * FROM pauses")
        cancel = "SELECT pg_cancel_backend(pid) FROM pg_locks WHERE NOT granted"  # as the server does after its limit
        while not other.execute(cancel).fetchone():
            assert not waiting.done()
        reason = "canceling statement"
        with pytest.raises(StateDirError, match=reason):
            waiting.result()
        other.rollback()
        with pytest.raises(StateDirError, match=reason):
            database.query("SELECT * FROM pauses")
        now[0] += REST_SECONDS
        assert database.query("SELECT * FROM pauses") == []


def test_a_server_that_was_cut_off_is_not_said_to_have_closed_the_connection(
    address: PostgresAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that waits for a lock ends after the limit, with what to look for; the next one works again."""
    monkeypatch.setattr("kvsync.state.postgres_database.STATEMENT_SECONDS", 0)
    monkeypatch.setattr("kvsync.state.postgres_database.GRACE_SECONDS", 1.0)
    now = [0.0]
    with closing(PostgresDatabase(address, read_only=False, monotonic=lambda: now[0])) as database:
        with psycopg.connect(address.dsn) as other:
            other.execute("LOCK TABLE pauses")
            with pytest.raises(
                StateDirError, match="no response within 1 s; check the load of the server, or look for long"
            ):
                database.query("SELECT * FROM pauses")
            other.rollback()
        now[0] += REST_SECONDS
        assert database.query("SELECT * FROM pauses") == []


def test_the_longer_a_call_waited_the_longer_calls_fail_at_once(
    address: PostgresAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A locked table takes a quarter of a daemon's time at most, so that its page and health checks go on. The second
    connection, which renews leases in a thread, tries again after a second."""
    now, waits = [0.0], 5.0
    database = PostgresDatabase(address, read_only=False, monotonic=lambda: now[0])
    execute = PostgresStatements.execute

    def slow(self: PostgresStatements, sql: str, *parameters: Any) -> Any:
        if "pauses" in sql:
            now[0] += waits
            raise psycopg.errors.QueryCanceled("canceling statement")
        return execute(self, sql, *parameters)

    monkeypatch.setattr(PostgresStatements, "execute", slow)
    with closing(database), closing(database.another_connection()) as claims:
        for one, rests in ((claims, REST_SECONDS), (database, REST_SHARE * waits)):
            with pytest.raises(StateDirError, match="canceling statement; look for long transactions"):
                one.query("SELECT * FROM pauses")
            now[0] += rests - 0.1
            with pytest.raises(StateDirError):
                one.query("SELECT 1")
            now[0] += 0.2
            assert one.query("SELECT 1") == [(1,)]


def test_replicas_share_the_limit_of_deletes(replica: Callable[..., StateDir]) -> None:
    """Two replicas that ask for deletes at the same moment get no more than the limit together."""
    one, two = replica("one"), replica("two")
    found: list[Any] = []
    with one.database.transaction() as statements:
        assert one.deletions.take(8, 10).granted == 8
        with meanwhile(lambda: two.deletions.take(8, 10).granted, found):
            statements.execute("COMMIT")
            statements.execute("BEGIN")
    assert found == [2]


def test_runs_of_the_same_millisecond_have_their_own_ids(
    replica: Callable[..., StateDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two replicas that begin a run at the same moment do not fail."""
    monkeypatch.setattr(Clock, "now", lambda _self: 1_800_000_000.0)
    one, two = replica("one"), replica("two")
    found: list[Any] = []
    with one.database.transaction() as statements:
        first = one.journal.begin("run")
        with meanwhile(lambda: two.journal.begin("run"), found):
            statements.execute("COMMIT")
            statements.execute("BEGIN")
    assert (first.id, found[0].id) == ("20270115-080000-000", "20270115-080000-001")


def test_after_a_failover_a_free_target_waits_for_earlier_leases(replica: Callable[..., StateDir]) -> None:
    """A server with another timeline may have lost claims: nobody takes a target until every earlier lease has ended."""
    one = replica("one")
    with one.database.transaction() as statements:
        statements.execute("UPDATE kvsync_state SET timeline = timeline - 1")
    assert claims_of(one).take([API], {}) == []
    with pytest.raises(StateDirError, match=rf"^state in {one.name}: the database failed over or was upgraded"):
        claims_of(one).ensure(API)
    with one.database.transaction() as statements:
        statements.execute("UPDATE kvsync_state SET quiet_until = clock_timestamp()")
    assert claims_of(one).take([API], {}) == [API]


async def test_a_command_leaves_at_once_also_after_a_pass(replica: Callable[..., StateDir]) -> None:
    """The task that made a pass gives the claim up."""
    one, two = replica("one"), replica("two")

    async def work() -> None:
        claims_of(one).bind(WEB)
        claims_of(one).release_all()

    await asyncio.create_task(work())
    assert claims_of(two).take([WEB], {}) == [WEB]


def test_replicas_of_another_owner_are_refused(replica: Callable[..., StateDir], address: PostgresAddress) -> None:
    """Two owners, or two environments, that were given the same database would divide each other's targets. Once the replicas
    of the first have ended, the second one may use it."""
    one = replica("one", owner="payments in prod")
    refused = (
        f"state in {address.name}: a replica of payments in prod on host uses this database, and this one is of payments in"
        " dev; give each owner and each environment a database of its own"
    )
    with pytest.raises(StateDirError, match=f"^{re.escape(refused)}$"):
        replica("two", owner="payments in dev")
    assert [one.id for one in one.replicas()] == ["one"]
    claims_of(one).release_all()
    assert [one.id for one in replica("two", owner="payments in dev").replicas()] == ["two"]


def test_given_up_is_free_at_once(replica: Callable[..., StateDir]) -> None:
    """Who gives targets up, or leaves, lets others take them without waiting for a lease."""
    one, two = replica("one"), replica("two")
    claims_of(one).take([WEB, API], {})
    claims_of(one).give_up([WEB])
    assert claims_of(two).take([WEB, API], {}) == [WEB]
    claims_of(one).release_all()
    assert claims_of(two).take([API], {}) == [API]
    assert [one.id for one in two.replicas()] == ["two"]


def test_only_runs_of_dead_replicas_are_interrupted(replica: Callable[..., StateDir]) -> None:
    """A replica that starts leaves the runs of living ones alone, and closes those that a dead one left open."""
    one, two = replica("one"), replica("two")
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
    with pytest.raises(StateRolledBack, match=rf"^state in {address.name}: .* lost committed transactions"):
        claims_of(one).renew(LONG, 0.0, is_draining=False, revision=None)
    assert claims_of(one).held == {}
    claims_of(one).register(LONG)
    claims_of(one).take([WEB], {})
    assert claims_of(one).held[WEB] > highest


def test_a_database_that_is_down_is_named_and_found_again(
    cluster: Cluster, replica: Callable[..., StateDir], address: PostgresAddress
) -> None:
    """While the server is down, calls fail with its address and no password; afterwards the same state goes on."""
    one = replica("one")
    begun, cut_off = one.journal.begin("run"), one.journal.begin("run")
    cut_off.intend(WEB_AT, [update(KEY, "a", "b")])
    cluster.control("-m", "immediate", "stop")
    try:
        with pytest.raises(StateDirError, match=rf"state in postgresql://127\.0\.0\.1:{cluster.port}/claimed: "):
            begun.finish()
        with pytest.raises(StateDirError):
            cut_off.finish()
    finally:
        cluster.start()
    deadline = time.monotonic() + 60
    while True:
        try:
            begun.finish()
            break
        except StateDirError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert one.journal.run(begun.id).status is RunStatus.FINISHED
    assert [change.identity for change in one.journal.cut_off(WEB_AT)] == [KEY]


def test_a_daemon_waits_for_a_lost_database_in_another_thread(
    cluster: Cluster, replica: Callable[..., StateDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first failure, calls fail without an attempt of their own; a thread finds the server once it is back."""
    one, connect, connecting = replica("one"), psycopg.connect, list[int]()

    def noted(*arguments: Any, **options: Any) -> psycopg.Connection[Any]:
        connecting.append(threading.get_ident())
        return connect(*arguments, **options)

    one.database.stay_connected()
    cluster.control("-m", "immediate", "stop")
    monkeypatch.setattr(psycopg, "connect", noted)
    try:
        with pytest.raises(StateDirError):
            one.pauses.all()
        deadline = time.monotonic() + 20
        while len(connecting) < 2:
            assert time.monotonic() < deadline
            with pytest.raises(StateDirError, match="check that the database runs"):
                one.pauses.all()
            time.sleep(0.05)
    finally:
        cluster.start()
    while True:
        try:
            assert one.pauses.all() == []
            break
        except StateDirError:
            assert time.monotonic() < deadline + 20
            time.sleep(0.05)
    assert threading.get_ident() not in connecting


def test_a_wake_is_heard_by_the_other_replicas(replica: Callable[..., StateDir]) -> None:
    """An approval or a pause wakes whoever listens, on whatever machine; where it is not heard, the next beat sees it."""
    one, two = replica("one"), replica("two")
    heard = threading.Event()
    before = claims_of(two).wakes
    with two.listening(heard.set):
        for _ in range(50):  # until the listener is connected
            one.wake()
            if heard.wait(0.2):
                break
    assert heard.is_set()
    claims_of(two).renew(LONG, 0.0, is_draining=False, revision=None)
    assert claims_of(two).wakes > before


def test_replicas_know_what_others_applied(replica: Callable[..., StateDir]) -> None:
    """Revisions of the files are known to all, in the order in which they were applied, and the oldest are forgotten."""
    one, two = replica("one"), replica("two")
    applied = [AppliedRevision(f"r{number}", None, float(number), "one") for number in range(KEPT + 2)]
    with one.database.transaction():
        for revision in applied:
            one.revisions.add(revision)
    assert two.revisions.all() == applied[2:]


def test_what_is_known_of_a_target_is_written_by_its_holder_alone(replica: Callable[..., StateDir]) -> None:
    """Outside of a pass too: a replica that never held the target, or lost it, cannot say that it is in sync."""
    first, second = replica("first"), replica("second")
    claims_of(first).take([WEB], {})
    with claims_of(first).within(WEB):
        first.waves.put(WEB, WaveRecord("digest", 1.0))
    with pytest.raises(ClaimLost), claims_of(second).within(WEB):
        second.waves.put(WEB, WaveRecord("digest", 2.0))
    ended(first, "first")
    claims_of(second).take([WEB], {})
    with pytest.raises(ClaimLost), claims_of(first).within(WEB):
        first.waves.put(WEB, WaveRecord("digest", 3.0))
    assert second.waves.find(WEB) == WaveRecord("digest", 1.0)


def test_an_upgrade_ends_what_older_replicas_hold(
    replica: Callable[..., StateDir], address: PostgresAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica of an earlier version records nothing once the schema was upgraded, and does not come back; nobody takes its
    targets before its lease has ended."""
    one = replica("one")
    claims_of(one).take([WEB], {})
    run = one.journal.begin("run")
    with monkeypatch.context() as later:
        later.setattr("kvsync.state.postgres_database.VERSION", VERSION + 1)
        later.setattr("kvsync.state.postgres_database.STEPS", (*STEPS, ("ALTER TABLE pauses ADD COLUMN later text",)))
        later.setattr("kvsync.state.postgres_schema.VERSION", VERSION + 1)
        assert upgrade(address, create=False) == VERSION
        two = replica("two")
        assert claims_of(two).take([WEB], {}) == []
    with unbound():
        claims_of(one).bind(WEB)
        with pytest.raises(ClaimLost):
            run.intend(WEB_AT, [update(KEY, "a", "b")])
    assert not claims_of(one).renew(LONG, 0.0, is_draining=False, revision=None)
    newer = f"a newer kvsync wrote the state (schema {VERSION + 1}, this one has {VERSION}); upgrade kvsync"
    with pytest.raises(StateNewer, match=re.escape(newer)):
        claims_of(one).register(LONG)
    with pytest.raises(StateNewer, match=re.escape(newer)):
        replica("three")


async def test_a_replica_with_older_files_leaves_its_targets_to_the_others(replica: Callable[..., StateDir]) -> None:
    """While another replica has the newer files, one that has lacked them for long gives its targets up and takes none; until
    then it keeps them, and with new files it takes its share again."""
    clock = FakeClock()
    fleets = [fleet_of(claims_of(replica(name)), clock, Fence()) for name in ("one", "two")]
    for fleet in fleets:
        fleet.wants([WEB, API])
        fleet.revision = lambda: "old"
    one, two = fleets
    one.superseded_by = lambda: "new"

    async def held_after(turns: int) -> tuple[int, int]:
        for _ in range(turns):
            for fleet in fleets:
                await fleet.turn()
        first, second = (sum(map(fleet.owns, (WEB, API))) for fleet in fleets)
        return first, second

    assert await held_after(4) == (1, 1)
    two.revision = lambda: "new"
    assert await held_after(4) == (1, 1)
    clock.advance(TIMING.patience)
    assert await held_after(4) == (0, 2)
    one.revision, one.superseded_by = (lambda: "new"), (lambda: None)
    assert await held_after(4) == (1, 1)


async def test_what_is_read_ahead_is_what_a_question_would_find(replica: Callable[..., StateDir]) -> None:
    """A pass is given the rows of its beginning, with their types, once; a later question, one after a write of the pass, and
    one under a later claim find what others have written since."""
    one, two = replica("one"), replica("two")
    claims_of(one).take([WEB], {})
    one.places.enter(WEB_AT, 1.0)
    one.quarantine.put(WEB_KEY, KEY, b"\x00\xff", "413", now=100.5)
    one.clean_passes.put(WEB_KEY, "d", "c", CleanPass("token", 1e10))
    one.parked.park(WEB, "sha256:1", "sha256:2", ["too many"], 1.5)
    asked = (
        lambda: one.quarantine.all(WEB_KEY),
        lambda: one.clean_passes.get(WEB_KEY, "d", "c"),
        lambda: one.parked.find(WEB),
        lambda: one.places.known(WEB),
        lambda: one.pauses.find(WEB),
    )
    now = [ask() for ask in asked]
    one.read_ahead(WEB)
    assert [ask() for ask in asked] == now

    def paused(between: Callable[[], Any]) -> list[bool]:
        one.read_ahead(WEB)
        with unbound():
            two.pauses.pause("edge", None, None, 1.0)
        between()
        found = [one.pauses.is_paused(WEB), one.pauses.is_paused(WEB)]
        two.pauses.resume("edge", None)
        return found

    assert paused(lambda: None) == [False, True]
    assert paused(lambda: one.passes.record(WEB, 1.0)) == [True, True]
    assert paused(lambda: taken_over(one, two)) == [True, True]


async def test_what_a_target_costs_is_written_when_it_changes(replica: Callable[..., StateDir]) -> None:
    """Other replicas know what passes take, without a write for each target at each renewal of the lease."""
    state = replica("one")
    fleet = fleet_of(claims_of(state), Clock(), Fence())
    fleet.wants([WEB, API])
    await fleet.turn()

    async def written(seconds: float) -> list[Any]:
        fleet.spent(WEB, seconds)
        await fleet.turn()
        return state.database.query("SELECT namespace, xmin::text, cost FROM claims ORDER BY namespace")

    first = await written(10.0)
    assert first[1][2] > 9
    assert await written(10.1) == first
    (api, web) = await written(60.0)
    assert api == first[0]
    assert web[2] > 20


class LateClock(FakeClock):
    """Sleeps longer than it is asked to, once."""

    naps = 1

    async def sleep(self, seconds: float) -> None:
        if not self.naps:
            await asyncio.Event().wait()
        self.naps -= 1
        self.advance(9)


async def test_a_lease_that_lapsed_for_a_moment_is_reported(replica: Callable[..., StateDir]) -> None:
    """A renewal that comes late, but in time for the database, lets the daemon repeat the passes that could not write."""
    fleet, changes = fleet_of(claims_of(replica("one")), LateClock(), Fence()), asyncio.Queue[bool]()
    running = asyncio.create_task(fleet.run(lambda: changes.put_nowait(fleet.may_write())))
    async with asyncio.timeout(60):
        assert [await changes.get(), await changes.get()] == [True, True]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
