"""The database that replicas share, on a disk that is really full."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from kvsync.errors import StateDirError
from kvsync.model.entry import Identity
from kvsync.state import Run, StateDir
from kvsync.state.claims import Replica
from kvsync.state.postgres_address import PostgresAddress
from kvsync.state.postgres_database import upgrade
from tests.state.examples import KEY, WEB, WEB_AT, done, update
from tests.state.test_failover import until_answered
from tests.support.postgres import Cluster, cluster_in

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

SIZE = "160m"
LONG = 600.0
MOST = 20_000
"""Intents of 10 kB, more than the disk has room for."""


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small file system of its own, where a user without rights reaches it."""
    with TemporaryDirectory(prefix="kvsync-pg-") as name:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", name]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("mounting a small file system needs root")
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)


@pytest.fixture
def cluster(disk: Path) -> Iterator[Cluster]:
    with cluster_in(disk, "--wal-segsize=1", max_wal_size="8MB", min_wal_size="2MB") as running:
        yield running


def test_a_full_disk_stops_the_intent_and_loses_nothing(cluster: Cluster, disk: Path, tmp_path: Path) -> None:
    """The intent that finds no room fails with the reason, so that nothing is written to a store; what was recorded stays,
    and once there is room the same replica goes on under the same claim."""
    address = PostgresAddress.of(cluster.new_database("full"))
    upgrade(address, create=True)
    with closing(StateDir.open_postgres(tmp_path / "state", address, writable=True)) as state:
        claims = state.join(Replica("one", "host", 1, "1", "me"))
        claims.register(LONG)
        claims.take([WEB], {})
        held = dict(claims.held)
        claims.bind(WEB)
        run = state.journal.begin("run")
        run.intend(WEB_AT, [update(KEY, "a", "b")])
        fill(disk / "filler")
        recorded, error = intended(run)
        assert re.search("free some space on the database server|check that the database runs", error), error
        (disk / "filler").unlink()
        if not cluster.is_running():
            cluster.start()
        until_answered(lambda: run.settle(WEB_AT, [done(KEY, "b")]))
        found = {change.identity: change.outcome for change in state.journal.changes(run.id)}
        assert found.pop(KEY) == "applied"
        assert set(recorded) <= found.keys() <= {*recorded, Identity(str(len(recorded)))}
        assert claims.renew(LONG, 0.0, is_draining=False, revision=None)
        assert claims.held == held


def intended(run: Run) -> tuple[list[Identity], str]:
    """Record intents until one fails; gives those that did not, and why it failed."""
    recorded: list[Identity] = []
    for number in range(MOST):
        identity = Identity(str(number))
        try:
            run.intend(WEB_AT, [update(identity, "x" * 10_000, "y")])
        except StateDirError as error:
            return recorded, str(error)
        recorded.append(identity)
    pytest.fail("the disk has room for everything")


def fill(file: Path) -> None:
    """Leave no byte free."""
    subprocess.run(["dd", "if=/dev/zero", f"of={file}", "bs=64k"], capture_output=True, check=False)
    assert os.statvfs(file).f_bavail == 0
