"""Opening SQLite files, transactions, and telling errors apart."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kvsync.util.sqlite import Fault, connect, fault_of, transaction, use_write_ahead_log
from tests.support.exhaustion import no_descriptors_left


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a ?#%file.db"


@pytest.fixture
def database(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(file, timeout=0, create=True)) as connection:
        connection.execute("CREATE TABLE t (n INTEGER)")
        yield connection


def run(connection: sqlite3.Connection, *statements: str) -> None:
    with transaction(connection):
        for statement in statements:
            connection.execute(statement)


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])


def fault(file: Path, *, read_only: bool = False) -> Fault:
    with pytest.raises(sqlite3.Error) as caught, closing(connect(file, timeout=0, read_only=read_only)) as connection:
        connection.execute("CREATE TABLE u (n INTEGER)")
    return fault_of(caught.value)


def test_a_file_is_made_for_its_owner_alone(file: Path) -> None:
    """Whatever the umask: mode 0600. The name may hold what means something in a URI."""
    before = os.umask(0)
    try:
        connect(file, timeout=0, create=True).close()
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_relative_path_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may be named relative to the working directory."""
    monkeypatch.chdir(tmp_path)
    connect(Path("here.db"), timeout=0, create=True).close()
    assert (tmp_path / "here.db").exists()


def test_pragmas_are_set() -> None:
    """Settings of the connection hold from the start; without a file it is a database in memory."""
    with closing(connect(None, timeout=0, pragmas={"synchronous": "OFF"})) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (0,)


def test_faults_are_distinguished(tmp_path: Path, file: Path, database: sqlite3.Connection) -> None:
    """Missing, read-only, locked and foreign files each have a fault of their own."""
    foreign = tmp_path / "foreign.db"
    foreign.write_text("no database " * 100)
    assert fault(tmp_path / "missing.db") is Fault.CANNOT_OPEN
    assert fault(foreign) is Fault.NOT_A_DATABASE
    assert fault(file, read_only=True) is Fault.READ_ONLY
    with transaction(database):
        assert fault(file) is Fault.LOCKED
    assert fault_of(ValueError("no error of SQLite")) is Fault.OTHER


def test_a_transaction_is_all_or_nothing(database: sqlite3.Connection) -> None:
    """What was done inside is kept at the end, and undone by any error."""
    run(database, "INSERT INTO t VALUES (1)")
    with pytest.raises(sqlite3.OperationalError):
        run(database, "INSERT INTO t VALUES (2)", "INSERT INTO missing VALUES (2)")
    assert count(database) == 1
    assert not database.in_transaction


def test_the_first_error_is_the_one_that_is_raised(database: sqlite3.Connection) -> None:
    """A transaction that SQLite rolled back on its own does not hide why."""
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        run(database, "ROLLBACK", "INSERT INTO missing VALUES (1)")


def test_the_log_is_waited_for_as_long_as_is_said(file: Path, database: sqlite3.Connection) -> None:
    """Another process that is just writing may keep the log from being switched on."""
    with closing(connect(file, timeout=0)) as other:
        with transaction(database), pytest.raises(sqlite3.OperationalError) as caught:
            use_write_ahead_log(other, 0.02)
        assert fault_of(caught.value) is Fault.LOCKED
        use_write_ahead_log(other)
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_used_up_descriptors_are_not_taken_for_missing_rights(tmp_path: Path) -> None:
    """SQLite says that it cannot open the file; what to do is to raise the limit."""
    file = tmp_path / "a.db"
    file.touch()
    with no_descriptors_left():
        with pytest.raises(sqlite3.OperationalError) as caught:
            connect(file, timeout=1)
        assert fault_of(caught.value) is Fault.DESCRIPTORS
    assert fault_of(caught.value) is Fault.CANNOT_OPEN


def test_null_and_blobs_are_bound_without_adaption(database: sqlite3.Connection) -> None:
    """Every database of kvsync holds many of both: `sqlite3` has an adapter for them, so that it does not look for one in each
    value. What is bound stays the same."""
    assert {(kind, sqlite3.PrepareProtocol) for kind in (bytes, type(None))} <= set(sqlite3.adapters)
    assert database.execute("SELECT ?, typeof(?), ?, typeof(?)", (None, None, b"\0x", b"\0x")).fetchone() == (
        *(None, "null", b"\0x", "blob"),
    )
