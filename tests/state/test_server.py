"""Servers that the state may be kept on: encrypted connections, versions, and whose clock counts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trustme

from kvsync.errors import ClaimHeld, StateDirError
from kvsync.state import StateDir
from kvsync.state.claims import Replica, TargetClaims
from kvsync.state.postgres_address import PostgresAddress
from kvsync.state.postgres_database import upgrade
from kvsync.testing import FakeClock
from tests.state.examples import WEB
from tests.support.postgres import Cluster, running_cluster

DAY = 86400.0


@contextmanager
def encrypted() -> Iterator[tuple[Cluster, Path]]:
    """A server with a certificate of an authority of its own, which is in the file."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    with TemporaryDirectory(prefix="kvsync-tls-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        authority.cert_pem.write_to_path(folder / "ca.pem")
        issued.cert_chain_pems[0].write_to_path(folder / "server.pem")
        issued.private_key_pem.write_to_path(folder / "server.key")
        (folder / "server.key").chmod(0o600)
        if os.getuid() == 0:
            shutil.chown(folder / "server.key", "nobody")
        files = {"ssl_cert_file": f"{folder}/server.pem", "ssl_key_file": f"{folder}/server.key"}
        with running_cluster(ssl="on", **files) as cluster:
            yield cluster, folder / "ca.pem"


def test_the_connection_is_encrypted_and_its_server_proven(tmp_path: Path) -> None:
    """`verify-full` accepts the certificate of the authority alone; a server of another one is refused with what to check."""
    with encrypted() as (cluster, authority):
        dsn = cluster.new_database("tls")
        address = PostgresAddress.of(f"{dsn}?sslmode=verify-full&sslrootcert={authority}")
        upgrade(address, create=True)
        with StateDir.open_postgres(tmp_path / "one", address, writable=True) as state:
            state.pauses.pause("edge", None, None, 1.0)
            assert state.database.one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == (True,)
        trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
        other = PostgresAddress.of(f"{dsn}?sslmode=verify-full&sslrootcert={tmp_path}/other.pem")
        with (
            pytest.raises(StateDirError, match=r"certificate verify failed.*; check sslmode and sslrootcert"),
            StateDir.open_postgres(tmp_path / "two", other, writable=True) as state,
        ):
            state.pauses.all()


def test_a_server_that_is_too_old_is_refused(tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements of the state need what PostgreSQL 13 has."""
    address = PostgresAddress.of(cluster.new_database("old"))
    upgrade(address, create=True)
    monkeypatch.setattr("kvsync.state.postgres_database._OLDEST_SERVER", 990000)
    with (
        pytest.raises(StateDirError, match=r"PostgreSQL \d+ is too old; kvsync needs version 13 or later"),
        StateDir.open_postgres(tmp_path / "one", address, writable=True) as state,
    ):
        state.pauses.all()


def test_leases_run_by_the_clock_of_the_database(tmp_path: Path, cluster: Cluster) -> None:
    """Machines whose clocks are wrong by a day neither lose their targets nor take those of others."""
    address = PostgresAddress.of(cluster.new_database("clocks"))
    upgrade(address, create=True)
    with ExitStack() as stack:

        def claims(name: str, ahead: float) -> TargetClaims:
            clock = FakeClock(FakeClock().now() + ahead)
            state = stack.enter_context(StateDir.open_postgres(tmp_path / name, address, writable=True, clock=clock))
            joined = state.join(Replica(name, "host", 1, "1", "me"))
            joined.register(60.0)
            return joined

        behind, ahead = claims("behind", -DAY), claims("ahead", DAY)
        assert behind.take([WEB], {}) == [WEB]
        with pytest.raises(ClaimHeld):
            ahead.ensure(WEB)
        assert behind.renew(60.0, 0.0, is_draining=False, revision=None)
        assert {one.id for one in ahead.replicas()} == {"ahead", "behind"}
