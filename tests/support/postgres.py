"""A real PostgreSQL for tests: a cluster in a temporary folder, run by a user without rights."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest

from tests.support.etcd import free_port


def programs() -> Path:
    """The folder with `initdb` and `pg_ctl`; the test is skipped where there is none."""
    found = shutil.which("pg_ctl")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    pytest.skip("NO POSTGRESQL: install Debian's postgresql (make tools), so that the shared state is tested")


@dataclass(frozen=True)
class Cluster:
    """A running server. `dsn` is that of a superuser, to a database of its own for each test that asks for one."""

    folder: Path
    port: int
    programs: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://kvsync@127.0.0.1:{self.port}/{database}"

    def new_database(self, name: str, template: str = "template1") -> str:
        """Make a database, a copy of another one that nobody uses; gives its DSN."""
        self.drop_database(name)
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, if there is one of this name."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def control(self, *arguments: str) -> None:
        """`pg_ctl`, as in `control("stop", "-m", "immediate")`."""
        run_as_nobody(
            [str(self.programs / "pg_ctl"), "-D", str(self.folder), "-w", "-t", "60", *arguments], self.folder
        )

    def is_running(self) -> bool:
        return (self.folder / "postmaster.pid").exists()

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "''",
            "fsync": "off",
            "max_connections": 200,
        }
        options = " ".join(f"-c {name}={value}" for name, value in {**settings, **self.settings}.items())
        self.control("-l", str(self.folder / "log"), "-o", f"-p {self.port} {options}", "start")


class Standby(Cluster):
    """A standby that streams from a primary, without that waiting for it."""

    def catch_up(self, primary: Cluster) -> None:
        """Wait until the standby has everything that was committed."""
        (position,) = _asked(primary, "SELECT pg_current_wal_lsn()::text")
        _until(lambda: _asked(self, f"SELECT pg_last_wal_replay_lsn() >= '{position}'::pg_lsn") == (True,))

    def cut_off(self) -> None:
        """Receive nothing more: what is committed from now on is lost in a failover."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
            connection.execute("SELECT pg_reload_conf()")
        _until(lambda: _asked(self, "SELECT count(*) FROM pg_stat_wal_receiver") == (0,))

    def promote(self) -> None:
        """Become a primary."""
        self.control("promote")


@contextmanager
def standby_of(primary: Cluster) -> Iterator[Standby]:
    """A standby next to a primary, stopped and removed at the end."""
    with TemporaryDirectory(prefix="kvsync-pg-") as name:
        folder = _folder_of(name)
        standby = Standby(folder, free_port(), primary.programs)
        copy = [str(primary.programs / "pg_basebackup"), "-D", str(folder), "-d", primary.dsn(), "-R", "-c", "fast"]
        run_as_nobody(copy, folder)
        standby.start()
        try:
            yield standby
        finally:
            standby.control("-m", "immediate", "stop")


def _asked(cluster: Cluster, sql: str) -> Any:
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        return connection.execute(sql).fetchone()


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def run_as_nobody(command: list[str], cwd: Path) -> None:
    """Run a program that refuses root."""
    extra: dict[str, int | str] = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid} if os.getuid() == 0 else {}
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, env={"LC_ALL": "C", "PATH": os.environ["PATH"]}, **extra
    )  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr


def _folder_of(name: str) -> Path:
    folder = Path(name) / "cluster"
    folder.mkdir(mode=0o700)
    if os.getuid() == 0:
        Path(name).chmod(0o755)
        shutil.chown(folder, "nobody")
    return folder


@contextmanager
def running_cluster(**settings: str) -> Iterator[Cluster]:
    """A server with an empty cluster and these settings, stopped and removed at the end."""
    with TemporaryDirectory(prefix="kvsync-pg-") as name, cluster_in(Path(name), **settings) as cluster:
        yield cluster


@contextmanager
def cluster_in(place: Path, *options: str, **settings: str) -> Iterator[Cluster]:
    """A server with an empty cluster in this folder, stopped at the end; made with these options of `initdb`."""
    folder = _folder_of(str(place))
    cluster = Cluster(folder, free_port(), programs(), settings)
    initdb = [str(cluster.programs / "initdb"), "-D", str(folder), "-U", "kvsync", "-A", "trust", "-E", "UTF8"]
    run_as_nobody([*initdb, "--no-sync", *options], folder)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.control("-m", "immediate", "stop")
