"""SQLite database of the state directory: opening, transactions, and error messages.

Write-ahead logging lets reading commands work alongside a writer. Commits are handed to the kernel at once, which is all
that surviving `kill -9` takes; a loss of power may take back the last ones, never tear one. A commit that asks to be
`durable` waits for the disk and, as the log is written in order, keeps everything before it too: a run's end does so, a
batch does not, because its intent is worth less than the wait of each of ten thousand single writes.
"""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from kvsync.errors import StateDirError
from kvsync.state.database import Query, Statements
from kvsync.state.generation import GenerationFile, count_transaction, read_generation
from kvsync.state.loss import LossDetector
from kvsync.state.schema import APPLICATION_ID, SCHEMA_VERSION, STEPS
from kvsync.state.sqlite_baseline import BASELINE
from kvsync.state.tables import RowStatement, StateTable
from kvsync.util.sqlite import Fault, closed_on_error, connect, fault_of, transaction, use_write_ahead_log

FILE_NAME = "state.db"
BUSY_SECONDS = 5.0
"""How long to wait for another process that is just writing."""

_HEAD = """
SELECT (SELECT user_version FROM pragma_user_version), (SELECT application_id FROM pragma_application_id), count(*)
FROM sqlite_master
"""
"""Read at one moment: another process may be making the tables just now."""

_LOG_BYTES = 16 * 1024 * 1024
"""What the write-ahead log is cut back to once a large run is in the database."""

LOST = (
    "move it away and run again (this loses history, pauses, approvals and local ledgers; the stores are not affected)"
)

_DESCRIPTORS = "raise the limit (LimitNOFILE of systemd, or ulimit -n)"

_REASONS = {
    Fault.FULL: "the disk is full; free some space and run again",
    Fault.READ_ONLY: "it is read-only; check its owner and mode",
    Fault.DENIED: "access is denied; check its owner and mode",
    Fault.CANNOT_OPEN: "cannot open state.db; check that the directory exists, its owner and mode, and that inodes are free",
    Fault.DESCRIPTORS: f"too many open files; {_DESCRIPTORS}",
    Fault.LOCKED: "state.db is locked by another process; try again when that process has ended",
    Fault.DISK: "disk error; check the disk, its quota and its free space",
    Fault.DAMAGED: f"state.db is damaged; {LOST}",
    Fault.NOT_A_DATABASE: f"state.db is not a database; {LOST}",
}

_ACCESS = "check its owner and mode, or set another state_dir"
_SPACE = "free some space and run again"
_CURES = {
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.EROFS: _ACCESS,
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EMFILE: _DESCRIPTORS,
    errno.ENFILE: _DESCRIPTORS,
}


@contextmanager
def sqlite_errors(state_dir: Path) -> Iterator[None]:
    """Context that turns errors of SQLite and of the file system into StateDirError."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # a mistake in kvsync, not in the directory
    except sqlite3.Error as error:
        raise StateDirError(str(state_dir), _REASONS.get(fault_of(error), f"state.db: {error}")) from error
    except OSError as error:
        place = f"{Path(error.filename).name}: " if isinstance(error.filename, str) else ""
        cure = _CURES.get(error.errno or 0, "check it, and run again")
        raise StateDirError(str(state_dir), f"{place}{error.strerror or error}; {cure}") from error


class SqliteDatabase:
    """A SQLite file, or a copy of one in memory. Safe to use from several threads, one at a time."""

    delay = 0.0
    """Seconds that a call waits for a network."""

    def __init__(self, connection: sqlite3.Connection, state_dir: Path, file: Path | None = None) -> None:
        self._connection, self._state_dir = connection, state_dir
        self._loss = None if file is None else LossDetector(connection, file, _LOG_BYTES, BUSY_SECONDS)
        self._generation = GenerationFile(state_dir)
        self._lock = threading.RLock()
        self.begun: Callable[[Statements], None] = lambda _statements: None
        self._synchronous = ""

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        """All rows. Raises StateDirError."""
        with self._lock, sqlite_errors(self._state_dir):
            return self._connection.execute(sql, parameters).fetchall()

    def one(self, sql: str, parameters: Sequence[object] = ()) -> Any:
        """The first row, or None. Raises StateDirError."""
        with self._lock, sqlite_errors(self._state_dir):
            return self._connection.execute(sql, parameters).fetchone()

    def each(self, statement: RowStatement, keys: Sequence[Sequence[object]]) -> list[Any]:
        """The row with each of these keys, or None. Raises StateDirError."""
        with self._lock, sqlite_errors(self._state_dir):
            execute = self._connection.cursor().execute
            return [execute(statement.one, key).fetchone() for key in keys]

    def read_ahead(self, queries: Sequence[Query], is_valid: Callable[[], bool]) -> None:
        """Does nothing: a query costs no round trip."""

    def write_rows(self, statements: Statements, statement: RowStatement, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement for these rows, inside a transaction. Raises StateDirError."""
        self._connection.executemany(statement.one, rows)

    def execute_all(self, statements: Statements, work: Sequence[Query]) -> None:
        """Run statements that write, inside a transaction."""
        for sql, parameters in work:
            statements.execute(sql, parameters)

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[Statements]:
        """All or nothing of what is done inside. `durable` also waits for the disk. Raises StateDirError."""
        with self._lock, sqlite_errors(self._state_dir):
            if self._loss is not None:
                self._loss.check()
            self._wait_for("FULL" if durable else "NORMAL")
            before, number = self._connection.total_changes, None
            with transaction(self._connection):
                yield self._connection
                if self._connection.total_changes > before:
                    number = count_transaction(self._connection)
            if self._loss is not None and number is not None:
                self._loss.committed(number)
                self._generation.write(number)

    def _wait_for(self, synchronous: str) -> None:
        """Set what the next commit waits for, if the last one waited for something else."""
        if synchronous != self._synchronous:
            self._connection.execute(f"PRAGMA synchronous = {synchronous}")
            self._synchronous = synchronous

    def alone(self, statements: Statements, table: StateTable) -> None:
        """Does nothing: one process writes at a time."""

    def inserted(
        self, statements: Statements, table: StateTable, columns: Sequence[str], row: Sequence[object]
    ) -> int | None:
        """Add a row to a numbered table, inside a transaction; returns its number, None if its name is taken. Raises
        StateDirError."""
        cursor = self._connection.execute(f"{table.insert(columns)} ON CONFLICT DO NOTHING", row)
        return cursor.lastrowid if cursor.rowcount else None

    def pages(self, table: StateTable, rows: int) -> Iterator[list[Any]]:
        """All of a table, so many rows at a time. Raises StateDirError."""
        with self._lock, sqlite_errors(self._state_dir):
            cursor = self._connection.execute(table.select())
            while page := cursor.fetchmany(rows):
                yield page

    def number_after(self, statements: Statements, table: StateTable) -> None:
        """Nothing to do: numbers that were inserted count."""

    def missing(self) -> int:
        """How many transactions an earlier process made that are not in the file. Raises StateDirError."""
        with self._lock, sqlite_errors(self._state_dir):
            return max(self._generation.read() - read_generation(self._connection), 0)

    def close(self) -> None:
        """Release the files. Idempotent."""
        self._generation.close()
        if self._loss is not None:
            self._loss.close()
        with self._lock, suppress(sqlite3.Error):  # nothing is left to be written
            self._connection.close()

    def size(self) -> int:
        """The bytes that are in use in the file. Raises StateDirError."""
        pages, free, bytes_of_one = (
            self.one(f"PRAGMA {name}")[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * bytes_of_one)

    def another_connection(self) -> SqliteDatabase:
        """This one: no other process writes to it."""
        return self

    def stay_connected(self) -> None:
        """Does nothing: a file is not reached over a network."""

    def check(self) -> None:
        """Raise StateDirLost when a file was removed, replaced, truncated or overwritten: rows written to it would be lost
        unnoticed."""
        if self._loss is not None:
            with self._lock, sqlite_errors(self._state_dir):
                self._loss.check()
                self._loss.remember()


def database_size(state_dir: Path) -> int | None:
    """Bytes of `state.db`, None if there is none. Raises OSError."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return (state_dir / FILE_NAME).stat().st_size
    return None


def open_for_writing(state_dir: Path) -> SqliteDatabase:
    """Open `state.db`, made first where it does not exist. Raises StateDirError."""
    file = state_dir / FILE_NAME
    with sqlite_errors(state_dir):
        connection = connect(file, timeout=BUSY_SECONDS, create=True)
        with closed_on_error(connection):
            if _version(connection, state_dir) < SCHEMA_VERSION:
                with transaction(connection):
                    _upgrade(connection)
            use_write_ahead_log(connection, BUSY_SECONDS)
            connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        return SqliteDatabase(connection, state_dir, file)


def open_for_reading(state_dir: Path) -> SqliteDatabase:
    """Open `state.db` without ever writing to it: an older one as a copy that is brought up to date, and where there is none
    yet, an empty one. Raises StateDirError."""
    file = state_dir / FILE_NAME
    with sqlite_errors(state_dir):
        connection = _connect_read_only(file, state_dir) if file.exists() else None
        if connection is None or _version(connection, state_dir) < SCHEMA_VERSION:
            connection = _upgraded_copy(connection)
        connection.execute("PRAGMA query_only = ON")
        return SqliteDatabase(connection, state_dir)


def _connect_read_only(file: Path, state_dir: Path) -> sqlite3.Connection:
    try:
        return _connect_checked(file, state_dir, immutable=False)
    except sqlite3.OperationalError as error:
        has_no_index = fault_of(error) in (Fault.CANNOT_OPEN, Fault.READ_ONLY)
        if not has_no_index and error.sqlite_errorcode != sqlite3.SQLITE_IOERR_SHMSIZE:
            raise
        # The log's index is missing and cannot be made here: no process has the file open, which SQLite cannot see.
        return _connect_checked(file, state_dir, immutable=True)


def _connect_checked(file: Path, state_dir: Path, *, immutable: bool) -> sqlite3.Connection:
    connection = connect(file, timeout=BUSY_SECONDS, read_only=True, immutable=immutable)
    with closed_on_error(connection):
        _version(connection, state_dir)
    return connection


def _upgraded_copy(old: sqlite3.Connection | None) -> sqlite3.Connection:
    copy = connect(None, timeout=BUSY_SECONDS)
    with closed_on_error(copy):
        if old is not None:
            with closing(old):
                old.backup(copy)
        _upgrade(copy)
    return copy


def _upgrade(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date from whatever version it has, which another process may have changed meanwhile."""
    version, _, tables = connection.execute(_HEAD).fetchone()
    for statement in _migrations(version) if tables else BASELINE:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _migrations(version: int) -> Iterator[str]:
    return (statement for step in STEPS[version:] for statement in step.split(";"))


def _version(connection: sqlite3.Connection, state_dir: Path) -> int:
    """The schema version, 0 for an empty file. Raises StateDirError for a file that this kvsync must not touch."""
    version, application, tables = connection.execute(_HEAD).fetchone()
    if tables and application != APPLICATION_ID:
        raise StateDirError(str(state_dir), "state.db belongs to another program; choose another state_dir")
    if version > SCHEMA_VERSION:
        reason = f"a newer kvsync wrote state.db (schema {version}, this one supports {SCHEMA_VERSION}); upgrade kvsync"
        raise StateDirError(str(state_dir), reason)
    return int(version)
