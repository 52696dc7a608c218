from __future__ import annotations

import os
import re
import shutil
import sqlite3
import stat
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from kvsync.errors import StateDirError
from kvsync.state import StateDir
from kvsync.state.postgres_address import PostgresAddress
from kvsync.state.postgres_database import upgrade
from kvsync.state.rows import name_key
from kvsync.state.schema import APPLICATION_ID, SCHEMA_VERSION, STEPS
from kvsync.util.clock import Clock
from tests.state.examples import KEY, WEB, WEB_AT, WEB_KEY, applied, apply_one, run, start
from tests.support.postgres import Cluster

RECORDED: Final = Path(__file__).parents[1] / "recorded"


def without_root() -> tuple[str, ...]:
    """The start of a command line under which file modes count, also for root."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root ignores file modes, and setpriv, which would give that up, is not installed")
    return "setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"


READ = """
try:
    with StateDir.open(path, writable=False) as state:
        print("runs", len(state.journal.runs()), "ledger", len(state.ledger.all(WEB_KEY)), "writer", state.writer())
except StateDirError as error:
    print(error)
"""
WRITE = """
try:
    with StateDir.open(path, writable=True) as state, state.lock("kvsync apply"):
        apply_one(state, KEY, "a", "b")
        print("written")
except StateDirError as error:
    print(error)
"""


def test_everything_is_for_its_owner_alone(path: Path) -> None:
    """The directory and its files, the key among them, can be read by nobody else, whatever the umask; Git ignores them."""
    before = os.umask(0)
    try:
        with StateDir.open(path, writable=True) as state, state.lock("kvsync apply"):
            state.seal(b"x")
            apply_one(state, KEY, "a", "b")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()}
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert (path / ".gitignore").read_text() == "*\n"
    assert modes.pop("control") == 0o700
    del modes[".gitignore"]
    names = ["state.db", "state.db-wal", "state.db-shm", "lock", "key", "timeline", "generation"]
    assert modes == dict.fromkeys(names, 0o600)


def test_reading_where_nothing_exists_finds_nothing_and_makes_nothing(path: Path) -> None:
    """Reading commands work before the first apply."""
    with StateDir.open(path, writable=False) as state:
        assert state.journal.runs() == []
        assert state.ledger.all(WEB_KEY) == {}
        assert (state.parked.all(), state.pauses.all(), state.passes.daemon()) == ([], [], None)
    assert not path.exists()


def test_writing_through_a_reading_door_is_refused(path: Path) -> None:
    """What is opened for reading cannot be written, be there something or not."""
    for _ in range(2):
        with StateDir.open(path, writable=False) as state, pytest.raises(StateDirError, match="it is read-only"):
            state.pauses.pause("edge", None, None, 0)
        StateDir.open(path, writable=True).close()


def test_a_reader_sees_each_commit_of_a_writer(path: Path) -> None:
    """A reading command next to a running daemon sees all that was committed, and never keeps the daemon waiting."""
    with StateDir.open(path, writable=True) as writer, StateDir.open(path, writable=False) as reader:
        for number in range(3):
            apply_one(writer, KEY, str(number), str(number + 1))
            assert len(reader.journal.runs()) == number + 1


def test_two_processes_may_write_in_turn(path: Path) -> None:
    """`approve` and `pause` write while the daemon does, and neither loses anything, even when both make the directory."""
    script = """
with StateDir.open(path, writable=True) as state:
    for number in range(100):
        state.pauses.pause(f"{os.getpid()}-{number}", None, None, 0)
"""
    processes = [start(script, path) for _ in range(3)]
    for process in processes:
        with process:
            output, _ = process.communicate(timeout=60)
            assert (output, process.returncode) == ("", 0)
    with StateDir.open(path, writable=False) as state:
        assert len(state.pauses.all()) == 300


def test_many_may_make_the_directory_at_once(tmp_path: Path) -> None:
    """A daemon and commands that all start on an empty directory find the same one, and none fails."""
    barrier = threading.Barrier(4)

    def use(number: int) -> None:
        for attempt in range(10):
            barrier.wait(timeout=60)
            with StateDir.open(tmp_path / str(attempt), writable=True) as state:
                state.pauses.pause(str(number), None, None, 0)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(use, range(4)))
    for attempt in range(10):
        with StateDir.open(tmp_path / str(attempt), writable=False) as state:
            assert len(state.pauses.all()) == 4


def test_a_read_only_directory_is_read_and_not_written(path: Path) -> None:
    """Where nothing may be written reading commands work, after a clean end and after a kill, and writing ones say why not."""
    wrapper = without_root()
    with StateDir.open(path, writable=True) as state, state.lock("kvsync apply"):
        apply_one(state, KEY, "a", "b")
    killed = path.with_name("killed")
    run(WRITE.replace('print("written")', "os.kill(os.getpid(), signal.SIGKILL)"), killed)
    assert (killed / "state.db-wal").stat().st_size > 0
    for folder in (path, killed):
        files = [folder, *folder.rglob("*")]
        for file in files:
            file.chmod(0o555 if file.is_dir() else 0o444)
        try:
            assert run(READ, folder, wrapper=wrapper) == "runs 1 ledger 1 writer None\n"
            assert "Permission denied; check its owner and mode" in run(WRITE, folder, wrapper=wrapper)
        finally:
            for file in files:
                file.chmod(0o700)


def test_a_read_only_file_system_is_read_and_not_written(path: Path) -> None:
    """The same on a file system that is mounted read-only, as a volume for inspection is."""
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    wrapper = ("unshare", "--mount", "sh", "-c", mount, str(path))
    with StateDir.open(path, writable=True) as state:
        apply_one(state, KEY, "a", "b")
    if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting read-only needs root and mount namespaces")
    assert run(READ, path, wrapper=wrapper) == "runs 1 ledger 1 writer None\n"
    assert "Read-only file system; check its owner and mode" in run(WRITE, path, wrapper=wrapper)


def test_an_unreadable_directory_says_so(path: Path) -> None:
    """A directory of another user is an error with its path and what to check, not an empty history."""
    wrapper = without_root()
    StateDir.open(path, writable=True).close()
    path.chmod(0)
    try:
        output = run(READ, path, wrapper=wrapper)
    finally:
        path.chmod(0o700)
    assert output.startswith(f"state directory {path}: ")
    assert "check its owner and mode" in output


FILL = """
import resource
with StateDir.open(path, writable=True) as state:
    begun = state.journal.begin("apply")
    begun.intend(WEB_AT, [update(KEY, "Hello", "Hi")])
    {limit}
    try:
        for number in range(1000):
            begun.intend(WEB_AT, [update(Identity(str(number)), "x" * 10_000, "y")])
    except StateDirError as error:
        print(error)
    {relief}
    begun.settle(WEB_AT, [done(KEY, "Hi")])
    print([change.outcome.value for change in state.journal.changes(begun.id) if change.identity == KEY])
"""


def test_a_quota_stops_the_intent_and_loses_nothing(path: Path) -> None:
    """When no more can be written the next intent fails with the reason, what was committed stays, and space helps at once."""
    limit = "_, hard = resource.getrlimit(resource.RLIMIT_FSIZE); resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))"
    relief = "resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))"
    error, outcome = run(FILL.format(limit=limit, relief=relief), path).splitlines()
    assert error == (f"state directory {path}: disk error; check the disk, its quota and its free space")
    assert outcome == "['applied']"


def test_a_full_disk_stops_the_intent_and_loses_nothing(path: Path) -> None:
    """The same on a file system without a byte left, which says so."""
    mount = 'mount -t tmpfs -o size=600k tmpfs "$0" && exec "$@"'
    wrapper = ("unshare", "--mount", "sh", "-c", mount, str(path))
    path.mkdir()
    if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root and mount namespaces")
    ballast = '(path / "ballast").write_bytes(b"x" * 200_000)'
    error, outcome = run(
        FILL.format(limit=ballast, relief='(path / "ballast").unlink()'), path, wrapper=wrapper
    ).splitlines()
    assert error == f"state directory {path}: the disk is full; free some space and run again"
    assert outcome == "['applied']"


def test_a_full_disk_before_the_first_byte(path: Path) -> None:
    """A directory that cannot even be set up is an error for people."""
    mount = 'mount -t tmpfs -o size=4k tmpfs "$0" && echo x > "$0/x" && exec "$@"'
    wrapper = ("unshare", "--mount", "sh", "-c", mount, str(path))
    path.mkdir()
    if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root and mount namespaces")
    assert "free some space and run again" in run(WRITE, path, wrapper=wrapper)


@pytest.mark.parametrize("writable", [True, False])
def test_a_file_that_is_not_a_database(path: Path, writable: bool) -> None:
    """A damaged database is distinguished from a missing one, and left as it is."""
    path.mkdir()
    (path / "state.db").write_bytes(b"not a database, but long enough for a header" * 40)
    with pytest.raises(
        StateDirError, match=r"state\.db is not a database; move it away and run again \(this loses history, pauses, "
    ):
        StateDir.open(path, writable=writable)
    assert (path / "state.db").read_bytes().startswith(b"not a database")


def test_a_damaged_page_is_an_error_where_it_is_met(path: Path) -> None:
    """Damage inside the file becomes words, not a traceback."""
    with StateDir.open(path, writable=True) as state:
        for number in range(500):
            apply_one(state, KEY, str(number), str(number + 1))
    file = path / "state.db"
    data = bytearray(file.read_bytes())
    half = len(data) // 2  # rows alone: the schema is read when the file is opened
    data[half:] = b"\xff" * (len(data) - half)
    file.write_bytes(data)
    with StateDir.open(path, writable=False) as state, pytest.raises(StateDirError, match="damaged; move it away"):
        state.journal.runs()


def test_a_newer_schema_is_refused(path: Path) -> None:
    """An older kvsync never touches what a newer one wrote."""
    StateDir.open(path, writable=True).close()
    with sqlite3.connect(path / "state.db") as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    for writable in (True, False):
        said = f"wrote state.db (schema {SCHEMA_VERSION + 1}, this one supports {SCHEMA_VERSION}); upgrade kvsync"
        with pytest.raises(StateDirError, match=re.escape(said)):
            StateDir.open(path, writable=writable)


def _older(path: Path, version: int) -> None:
    """A state directory as kvsync left it at this schema version, with an entry in the ledger, one in quarantine and one that
    is contended."""
    path.mkdir()
    with closing(sqlite3.connect(path / "state.db")) as connection, connection:
        for step in STEPS[:version]:
            for statement in step.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        entry = "'edge', 'web', 'greeting', ''"
        connection.execute(f"INSERT INTO ledger VALUES ({entry}, 'me', x'01', NULL, 0, 0, '7', NULL)")
        connection.execute(f"INSERT INTO quarantine VALUES ({entry}, x'01', 3, 9e9, '413')")
        connection.execute(f"INSERT INTO contended VALUES ({entry}, 3, 100, 9e9)")


@pytest.mark.parametrize("writable", [True, False])
def test_an_upgrade_releases_entries_that_waited_for_their_content(path: Path, writable: bool) -> None:
    """Up to schema 4 an entry waited for its content alone. Such rows say too little: they go, and the ledger stays."""
    _older(path, 4)
    with StateDir.open(path, writable=writable) as state:
        assert state.quarantine.counts(0) == state.contended.counts(0) == {}
        assert state.ledger.get(name_key(WEB), [KEY]).keys() == {KEY}
        if writable:
            assert state.quarantine.put(WEB_KEY, KEY, b"digest", "413", 0).attempts == 1
            assert state.contended.record_heals(WEB_KEY, {KEY: b"digest"}, 0) == {}


_BEFORE_STEADY_MOMENTS = (
    "DROP TABLE waves",
    "DROP TABLE emptied",
    "DROP TABLE namespace_deletions",
    "DROP TABLE restore_points",
    "DROP INDEX places_by_place",
    "DROP INDEX runs_by_steady_end",
    "ALTER TABLE runs DROP COLUMN steady_at",
    "ALTER TABLE changes DROP COLUMN steady_at",
    "CREATE INDEX runs_by_end ON runs (finished_at)",
)


def test_an_upgrade_knows_what_was_written_just_before(path: Path) -> None:
    """A listing that is late is still known to be, by the process that comes after."""
    with StateDir.open(path, writable=True) as state:
        apply_one(state, KEY, "1", "2")
    with closing(sqlite3.connect(path / "state.db")) as connection, connection:
        for statement in (*_BEFORE_STEADY_MOMENTS, "DROP TABLE generation", "PRAGMA user_version = 10"):
            connection.execute(statement)
    with StateDir.open(path, writable=True) as state:
        assert state.journal.written_since(WEB_AT, Clock().now() - 60).keys() == {KEY}


def test_an_upgrade_in_postgresql_knows_what_was_written_just_before(path: Path, cluster: Cluster) -> None:
    """As for a directory."""
    address = PostgresAddress.of(cluster.new_database("upgraded"))
    upgrade(address, create=True)
    with StateDir.open_postgres(path, address, writable=True) as state:
        apply_one(state, KEY, "1", "2")
    with psycopg.connect(address.dsn) as connection:
        for statement in (*_BEFORE_STEADY_MOMENTS, "UPDATE kvsync_state SET version = 1"):
            connection.execute(statement)
    assert upgrade(address, create=False) == 1
    with StateDir.open_postgres(path, address, writable=True) as state:
        assert state.journal.written_since(WEB_AT, Clock().now() - 60).keys() == {KEY}


def test_an_upgrade_in_postgresql_comes_to_the_schema_of_a_new_state(cluster: Cluster) -> None:
    """From the first version on, step by step."""
    old = PostgresAddress.of(cluster.new_database("first"))
    with psycopg.connect(old.dsn) as connection:
        connection.execute((RECORDED / "postgresql-1.sql").read_text())
        connection.execute("INSERT INTO kvsync_state (version, sealing_key) VALUES (1, 'k')")
    assert upgrade(old, create=False) == 1
    new = PostgresAddress.of(cluster.new_database("newest"))
    upgrade(new, create=True)
    assert postgres_schema(old) == postgres_schema(new)


def postgres_schema(address: PostgresAddress) -> list[tuple[Any, ...]]:
    """The columns and indexes of a database."""
    columns = (
        "SELECT table_name, column_name, data_type, collation_name, is_nullable, column_default, is_identity"
        " FROM information_schema.columns WHERE table_schema = 'public'"
    )
    indexes = "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    with psycopg.connect(address.dsn) as connection:
        return sorted((*connection.execute(columns).fetchall(), *connection.execute(indexes).fetchall()), key=repr)


def test_another_programs_database_is_refused(path: Path) -> None:
    """A `state.db` that kvsync did not make is not written into."""
    path.mkdir()
    with sqlite3.connect(path / "state.db") as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(StateDirError, match="belongs to another program; choose another state_dir"):
        StateDir.open(path, writable=True)


def test_a_database_that_was_never_set_up_reads_as_empty(path: Path) -> None:
    """A kill while the directory was being made leaves nothing that has to be repaired."""
    path.mkdir()
    (path / "state.db").touch()
    with StateDir.open(path, writable=False) as state:
        assert state.journal.runs() == []
    with StateDir.open(path, writable=True) as state:
        apply_one(state, KEY, "a", "b")


def test_a_file_in_the_place_of_the_directory(path: Path) -> None:
    """A file named like the state directory is named as the trouble."""
    path.write_text("")
    with pytest.raises(StateDirError, match="it is a file, not a directory; set another state_dir"):
        StateDir.open(path, writable=True)


def test_another_writer_that_does_not_end(path: Path, directory: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database locked by another process for too long is an error that says so."""
    monkeypatch.setattr("kvsync.state.sqlite_database.BUSY_SECONDS", 0.05)
    blocker = sqlite3.connect(path / "state.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with StateDir.open(path, writable=True) as other, pytest.raises(StateDirError, match="locked by another process"):
        other.pauses.pause("edge", None, None, 0)
    blocker.close()
    directory.ledger.record(WEB_KEY, {KEY: applied("a")})


def test_waking_is_seen_in_the_control_folder(directory: StateDir) -> None:
    """Each wake changes what is in the folder that the daemon watches."""
    assert list(directory.control_dir.iterdir()) == []
    directory.wake()
    [file] = directory.control_dir.iterdir()
    first = file.read_text()
    directory.wake()
    assert file.read_text() != first


def test_a_path_that_sqlite_could_misread(tmp_path: Path) -> None:
    """A state directory may have any name."""
    path = tmp_path / "state?mode=memory#50%25 é"
    with StateDir.open(path, writable=True) as state:
        apply_one(state, KEY, "a", "b")
    with StateDir.open(path, writable=False) as state:
        assert len(state.journal.runs()) == 1
