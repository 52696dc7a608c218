"""A real PostgreSQL for tests: a cluster in a temporary folder, run by a user without rights."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

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

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://kvsync@127.0.0.1:{self.port}/{database}"

    def new_database(self, name: str) -> str:
        import psycopg

        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.dsn(name)

    def control(self, *arguments: str) -> None:
        """`pg_ctl`, as in `control("stop", "-m", "immediate")`."""
        run_as_nobody(
            [str(self.programs / "pg_ctl"), "-D", str(self.folder), "-w", "-t", "60", *arguments], self.folder
        )

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "''",
            "fsync": "off",
            "max_connections": 200,
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self.control("-l", str(self.folder / "log"), "-o", f"-p {self.port} {options}", "start")


def run_as_nobody(command: list[str], cwd: Path) -> None:
    """Run a program that refuses root."""
    extra: dict[str, int | str] = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid} if os.getuid() == 0 else {}
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, env={"LC_ALL": "C", "PATH": os.environ["PATH"]}, **extra
    )  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A server with an empty cluster, stopped and removed at the end."""
    with TemporaryDirectory(prefix="kvsync-pg-") as name:
        folder = Path(name) / "cluster"
        folder.mkdir(mode=0o700)
        if os.getuid() == 0:
            Path(name).chmod(0o755)
            shutil.chown(folder, "nobody")
        cluster = Cluster(folder, free_port(), programs())
        initdb = [
            str(cluster.programs / "initdb"),
            "-D",
            str(folder),
            "-U",
            "kvsync",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        run_as_nobody(initdb, folder)
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.control("-m", "immediate", "stop")
