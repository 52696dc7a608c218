"""Failover of the database that replicas share: a real primary, and a real standby that lost the last transactions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypeVar

import pytest
from psycopg.conninfo import make_conninfo

from kvsync.errors import ClaimLost, StateDirError, StateRolledBack
from kvsync.state import StateDir
from kvsync.state.claims import Replica, TargetClaims, unbound
from kvsync.state.postgres_address import PostgresAddress
from kvsync.state.postgres_database import upgrade
from tests.state.examples import KEY, WEB, WEB_AT, update
from tests.support.postgres import Cluster, standby_of

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

_Answer = TypeVar("_Answer")

LONG = 60.0


@pytest.fixture
def primary(cluster: Cluster) -> Iterator[Cluster]:
    """The server of all tests, which runs again afterwards."""
    yield cluster
    if not cluster.is_running():
        cluster.start()


def claims_at(state: StateDir, name: str) -> TargetClaims:
    claims = state.join(Replica(name, "host", 1, "1", "me"))
    claims.register(LONG)
    return claims


def until_answered(ask: Callable[[], _Answer]) -> _Answer:
    """The answer of the server that leads now, once the connection is made again."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return ask()
        except (StateRolledBack, ClaimLost):
            raise
        except StateDirError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def end_quiet_time(state: StateDir) -> None:
    """Let earlier leases have ended."""
    with state.database.transaction() as statements:
        statements.execute("UPDATE kvsync_state SET quiet_until = clock_timestamp()")


def test_a_standby_that_lost_a_claim_lets_nobody_write(primary: Cluster, tmp_path: Path) -> None:
    """The claim was committed by the primary alone, and no fencing number repeats. Its holder notices the failover, a new
    replica waits, and nothing is recorded under the lost claim."""
    dsn = primary.new_database("fleet")
    hosts = {"host": "127.0.0.1,127.0.0.1", "target_session_attrs": "read-write"}
    upgrade(PostgresAddress.of(dsn), create=True)
    with ExitStack() as stack:
        standby = stack.enter_context(standby_of(primary))
        ports = f"{primary.port},{standby.port}"
        address = PostgresAddress.of(make_conninfo(dsn, **hosts, port=ports))

        def opened(name: str) -> StateDir:
            return stack.enter_context(closing(StateDir.open_postgres(tmp_path / name, address, writable=True)))

        one, two = opened("one"), opened("two")
        first, second = claims_at(one, "one"), claims_at(two, "two")
        standby.catch_up(primary)
        standby.cut_off()
        first.take([WEB], {})
        lost = first.held[WEB]
        run = one.journal.begin("run")
        primary.control("-m", "immediate", "stop")
        standby.promote()
        with pytest.raises(StateRolledBack):
            until_answered(lambda: first.renew(LONG, 0.0, is_draining=False, revision=None))
        assert first.held == {}
        assert until_answered(lambda: second.take([WEB], {})) == []
        with unbound():  # what is bound inside ends with it
            first.bind(WEB, 1)
            with pytest.raises(ClaimLost):
                until_answered(lambda: run.intend(WEB_AT, [update(KEY, "a", "b")]))
        until_answered(lambda: end_quiet_time(two))
        assert second.take([WEB], {}) == [WEB]
        assert second.held[WEB] > lost
