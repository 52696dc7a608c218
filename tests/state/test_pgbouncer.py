"""State in PostgreSQL behind PgBouncer in transaction mode: each transaction may be on another connection of the server."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from kvsync.errors import ClaimLost
from kvsync.state import StateDir
from kvsync.state.claims import Replica, TargetClaims, unbound
from kvsync.state.postgres_address import PostgresAddress
from kvsync.state.postgres_database import upgrade
from tests.state.examples import KEY, WEB, WEB_AT, update
from tests.support.etcd import free_port, wait_until
from tests.support.postgres import Cluster

_CONFIG = """
[databases]
* = host=127.0.0.1 port={server} user=kvsync
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
max_client_conn = 50
"""


@pytest.fixture
def address(cluster: Cluster, tmp_path: Path) -> Iterator[PostgresAddress]:
    """A database of its own, by way of a pool of two connections."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("NO PGBOUNCER: install Debian's pgbouncer (make tools), so that the state is tested behind it")
    direct = cluster.new_database("pooled")
    upgrade(PostgresAddress.of(direct), create=True)
    port, file = free_port(), Path(f"/tmp/kvsync-pgbouncer-{os.getpid()}.ini")
    file.write_text(_CONFIG.format(server=cluster.port, port=port))
    nobody = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid} if os.getuid() == 0 else {}
    with subprocess.Popen([program, "-q", str(file)], cwd="/", stderr=subprocess.DEVNULL, **nobody) as process:  # type: ignore[call-overload]
        try:
            wait_until(lambda: _is_open(port))
            yield PostgresAddress.of(direct.replace(f":{cluster.port}", f":{port}"))
        finally:
            process.kill()
            file.unlink()


@pytest.fixture
def states(address: PostgresAddress, tmp_path: Path) -> Iterator[list[StateDir]]:
    """The state, as four replicas have it open."""
    with ExitStack() as stack:
        names = [tmp_path / str(number) for number in range(4)]
        yield [stack.enter_context(StateDir.open_postgres(name, address, writable=True)) for name in names]


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def joined(state: StateDir, name: str) -> TargetClaims:
    claims = state.join(Replica(name, "host", 1, "1", "me"))
    claims.register(60)
    return claims


def test_claims_hold_and_wakes_are_seen_by_polling(states: list[StateDir]) -> None:
    """Claims, fences and records work as on a direct connection. Notifications do not come through, and the next renewal sees
    what they were about."""
    one, two = states[:2]
    first, second = joined(one, "one"), joined(two, "two")
    heard = threading.Event()
    with two.listening(heard.set):
        assert first.take([WEB], {}) == [WEB]
        assert second.take([WEB], {}) == []
        run, wakes = one.journal.begin("run"), second.wakes
        with unbound():
            first.bind(WEB)
            run.intend(WEB_AT, [update(KEY, "a", "b")])
        with two.database.transaction() as statements:
            statements.execute("UPDATE replicas SET expires_at = clock_timestamp() WHERE id = 'one'")
        assert second.take([WEB], {}) == [WEB]
        with unbound():
            first.bind(WEB, first.held[WEB])
            with pytest.raises(ClaimLost):
                run.intend(WEB_AT, [update(KEY, "a", "b")])
        one.wake()
        second.renew(60, 0.0, is_draining=False, revision=None)
        assert second.wakes > wakes
    assert [change.identity for change in two.journal.cut_off(WEB_AT)] == [KEY]


def test_replicas_exclude_each_other(states: list[StateDir]) -> None:
    """What excludes other replicas lasts for a transaction, and is left on no connection of the pool."""
    with ThreadPoolExecutor(len(states)) as pool:
        granted = list(pool.map(lambda number: states[number % 4].deletions.take(1, 10).granted, range(24)))
    assert sum(granted) == 10
