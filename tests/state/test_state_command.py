"""`kvsync state init`, `upgrade` and `copy`, as a person meets them: what they do, and what they say when they cannot."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import psycopg
import pytest

from kvsync.state import StateDir
from kvsync.state.postgres_address import PostgresAddress
from kvsync.state.postgres_database import upgrade
from kvsync.state.postgres_schema import VERSION
from tests.cli.conftest import Repo, environment, repo, runner
from tests.state.examples import KEY, WEB, apply_one
from tests.support.postgres import Cluster

__all__ = ["repo", "runner"]

SHARED = """\
version: 1
owner: tester
state: {postgresql: {dsn: {env: TEST_DSN}}}
stores: {local: {type: sqlite, path: s.db}}
policy: {prune: owned}
"""
KILLED = """
import os, signal, sys
from pathlib import Path
from kvsync.app.state_access import copy_state
from kvsync.state import StateDir

StateDir.take_key = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
copy_state(Path("kvsync.yaml"), None, to_database=sys.argv[1] == "database", dry_run=False)
"""
_NUMBERS = count()


@pytest.fixture
def dsn(cluster: Cluster, repo: Repo) -> str:
    """A new database, and a configuration that keeps its state there."""
    repo.write("kvsync.yaml", SHARED)
    return cluster.new_database(f"command_{next(_NUMBERS)}")


@pytest.fixture
def said(repo: Repo, dsn: str) -> Callable[..., str]:
    """What a command that fails says, without its address."""

    def run(*arguments: str, at: str = dsn) -> str:
        return repo.run(*arguments, env={"TEST_DSN": at}, code=1).stderr

    return run


def changed(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def test_repeating_does_nothing(repo: Repo, dsn: str, said: Callable[..., str]) -> None:
    """`init` makes the tables once, and says which schema is there; `upgrade` says what it changed, and what is left to do."""
    env = {"TEST_DSN": dsn}
    assert "run `kvsync state init`" in said("state", "upgrade")
    assert repo.run("state", "init", env=env).stdout.endswith(f": tables created (schema {VERSION})\n")
    for action in ("init", "upgrade"):
        assert repo.run("state", action, env=env).stdout.endswith(f": nothing to do, schema {VERSION} is up to date\n")
    changed(dsn, f"UPDATE kvsync_state SET version = {VERSION - 1}", "DROP INDEX places_by_place")
    upgraded = repo.run("state", "upgrade", env=env).stdout
    assert upgraded.endswith(
        f"from schema {VERSION - 1} to {VERSION}; replace the replicas of the earlier version now\n"
    )


@pytest.mark.parametrize("action", [("status",), ("plan",), ("apply", "--yes"), ("state", "copy", "--to", "database")])
def test_another_schema_is_named_with_what_to_do(said: Callable[..., str], dsn: str, action: tuple[str, ...]) -> None:
    """Commands that only read refuse an older schema, too: what they ask for may not be there."""
    upgrade(PostgresAddress.of(dsn), create=True)
    changed(dsn, "UPDATE kvsync_state SET version = 1", "DROP TABLE waves", "ALTER TABLE runs DROP COLUMN steady_at")
    assert f"the state has schema 1, this kvsync needs {VERSION}; run `kvsync state upgrade` and replace all" in said(
        *action
    )
    changed(dsn, "UPDATE kvsync_state SET version = 99")
    assert f"a newer kvsync wrote the state (schema 99, this one has {VERSION}); upgrade kvsync" in said(*action)


def test_a_wrong_address_is_not_reported_as_an_outage(cluster: Cluster, said: Callable[..., str], dsn: str) -> None:
    """Each refusal of the server comes with its own remedy."""
    assert "create the database, or correct its name" in said("state", "init", at=cluster.dsn("nowhere"))
    stranger = dsn.replace("kvsync@", "stranger@")
    assert "check the user and the password in the connection string" in said("state", "init", at=stranger)
    assert "check that the database runs and can be reached" in said("state", "init", at="postgresql://x@127.0.0.1:1/x")
    assert "check sslmode" in said("state", "init", at=f"{dsn}?sslmode=require")
    unreadable = said("state", "init", at="mysql://somewhere/x")
    assert unreadable.startswith(
        "kvsync: state in postgresql://: the connection string cannot be read; write host=HOST "
    )
    assert "*" not in unreadable


def test_what_the_server_refuses_comes_with_what_to_do(said: Callable[..., str], dsn: str) -> None:
    """Missing rights, a standby, and a database that another program uses are not mistakes in kvsync."""
    changed(
        dsn,
        "DROP ROLE IF EXISTS reader",
        "CREATE ROLE reader LOGIN",
        "GRANT USAGE ON SCHEMA public TO reader",
        "CREATE TABLE runs (other int)",
    )
    weak = dsn.replace("kvsync@", "reader@")
    refused = said("state", "init", at=weak)
    assert "permission denied for schema public; grant the user" in refused
    assert "LINE 1" not in refused
    assert 'relation "runs" already exists; use an empty database for kvsync' in said("state", "init")
    assert "a standby accepts no writes" in said(
        "state", "init", at=f"{dsn}?options=-cdefault_transaction_read_only%3Don"
    )
    changed(dsn, "DROP TABLE runs", "DROP SCHEMA public")
    assert "create the schema `public`" in said("state", "init")


@pytest.mark.parametrize("way", ["database", "directory"])
def test_a_copy_is_whole_or_nothing(repo: Repo, dsn: str, said: Callable[..., str], way: str) -> None:
    """Killed in the middle, it leaves an empty destination, and repeating it does all; once it is done, it is refused."""
    address, env = PostgresAddress.of(dsn), {"TEST_DSN": dsn}
    upgrade(address, create=True)
    folder = repo.root / ".kvsync"
    with StateDir.open(folder, writable=True) as directory:
        apply_one(directory, KEY, "before", "after")
    if way == "directory":
        repo.run("state", "copy", "--to", "database", env=env)
        folder.rename(repo.root / "old")
    command = [sys.executable, "-c", KILLED, way]
    killed = subprocess.run(command, cwd=repo.root, env=environment(env), capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    copied = repo.json("state", "copy", "--to", way, env=env)
    assert copied["rows"]["changes"] == 1
    where = "use an empty database" if way == "database" else "move it away, or set another state_dir"
    assert f"cannot copy into it, because it is not empty (ledger); {where}" in said("state", "copy", "--to", way)


@pytest.mark.parametrize("way", ["database", "directory"])
def test_a_database_in_use_is_not_copied(dsn: str, said: Callable[..., str], way: str) -> None:
    """What replicas write meanwhile would be lost, or would meet what is copied."""
    upgrade(PostgresAddress.of(dsn), create=True)
    changed(
        dsn,
        "INSERT INTO replicas VALUES ('r', 'h', 7, '1', 'o', now(), now(), now() + interval '1 h', 0, 0)",
    )
    refused = said("state", "copy", "--to", way)
    assert "cannot copy while it is in use (h process 7); stop all replicas and run again" in refused


def test_a_copy_waits_for_nobody_who_writes(repo: Repo, dsn: str, tmp_path: Path) -> None:
    """A process that writes to the directory excludes it."""
    upgrade(PostgresAddress.of(dsn), create=True)
    with StateDir.open(repo.root / ".kvsync", writable=True) as directory, directory.lock("run"):
        held = repo.run("state", "copy", "--to", "database", env={"TEST_DSN": dsn}, code=5)
    assert "holds the lock of this state directory" in held.stderr


def test_status_says_since_when_no_replica_lives(repo: Repo, dsn: str) -> None:
    """Replicas that neither renew their leases nor leave are not the same as none."""
    env = {"TEST_DSN": dsn}
    upgrade(PostgresAddress.of(dsn), create=True)
    assert repo.run("status", env=env).stdout.startswith("no daemon is running\n")
    row = "'h', 7, '1', 'o', '2026-01-01T00:00Z', '2026-01-02T03:04:05Z', now() + interval"
    changed(dsn, f"INSERT INTO replicas VALUES ('a', {row} '-1 s', 0, 0)")
    first, second, *_ = repo.run("status", env=env).stdout.splitlines()
    assert first.startswith("no replica has renewed its lease since 2026-01-02T03:04:05Z: none is running, ")
    assert second == "  lease not renewed: h process 7, last heard from at 2026-01-02T03:04:05Z"
    changed(dsn, f"INSERT INTO replicas VALUES ('b', {row} '1 h', 0, 0)")
    assert repo.run("status", env=env).stdout.splitlines()[:2] == ["1 replica: h process 7 with 0 targets", second]


def test_only_caches_stay_on_the_machine(repo: Repo, dsn: str) -> None:
    """Everything that another machine needs is in the database."""
    env = {"TEST_DSN": dsn}
    repo.run("state", "init", env=env)
    repo.run("apply", "--yes", env=env)
    kept = {path.name for path in (repo.root / ".kvsync").rglob("*") if path.is_file()}
    assert kept <= {".gitignore", "cache.db", "revisions.json"}
    shutil.rmtree(repo.root / ".kvsync")
    summary = repo.json("plan", env=env)["summary"]
    assert (summary["create"], summary["unchanged"] > 0) == (0, True)


def test_a_machine_with_the_address_alone_approves_and_looks_back(repo: Repo, dsn: str) -> None:
    """Without a kvsync.yaml, and without anything of the machine that applied."""
    address, env = PostgresAddress.of(dsn), {"KVSYNC_DSN": dsn}
    upgrade(address, create=True)
    with StateDir.open_postgres(repo.root / "other", address, writable=True) as state:
        run = apply_one(state, KEY, "before", "after")
        state.parked.park(WEB, "sha256:" + "a" * 64, "sha256:" + "b" * 64, ["too many deletes"], 2.0)
    (repo.root / "kvsync.yaml").unlink()
    assert "edge/web" in repo.run("approve", "a" * 12, env=env).stdout
    [parked] = repo.json("status", env=env)["parked"]
    assert parked["approved_at"] is not None
    assert [one["run"] for one in repo.json("history", env=env)["runs"]] == [run]
    assert "before" in repo.run("show", run, env=env).stdout


def test_an_undo_names_the_replica_in_the_way_and_what_is_stale(repo: Repo, dsn: str) -> None:
    """A target that a living replica holds stops the undo before anything is written; an entry that changed since is left, and
    the exit code says that a part was done."""
    env = {"TEST_DSN": dsn}
    repo.run("state", "init", env=env)
    for value in ("one", "two"):
        repo.write("state/web.yaml", f"store: local\nnamespace: web\nkeys: {{a: {value}, b: {value}}}\n")
        repo.run("apply", "--yes", env=env)
    last = repo.json("history", env=env)["runs"][0]["run"]
    changed(
        dsn,
        "INSERT INTO replicas VALUES ('other', 'h', 7, '1', 'tester', now(), now(), now() + interval '1 h', 0, 0)",
        "INSERT INTO claims VALUES ('local', 'web', 'other', 1, 1, now())",
    )
    held = repo.run("undo", last, "--yes", env=env, code=5)
    assert "local/web: other holds this target; stop it, or let it do the work" in held.stderr
    changed(dsn, "DELETE FROM claims", "DELETE FROM replicas")
    with closing(sqlite3.connect(repo.root / "s.db")) as store, store:
        store.execute("UPDATE entries SET value = ?, fingerprint = NULL WHERE key = 'a'", (b"theirs",))
    undone = repo.run("undo", last, "--yes", env=env, code=3)
    assert "a  stale  changed since kvsync wrote it" in undone.stdout
    assert undone.stdout.endswith("Done: 1 applied, 1 stale.\n")
