"""SQLite file of a store, opened on first use in a thread, with clear error messages.

The thread keeps a long wait for another process's lock out of the event loop, and serialises the calls of this process.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from kvsync.errors import PermanentError, StoreError, TransientError
from kvsync.stores.sqlite.schema import BEGIN_WRITING, END_WRITING, FILE_ID, FORMAT, SCHEMA, TABLES
from kvsync.stores.worker_thread import WorkerThread
from kvsync.util.sqlite import Fault, closed_on_error, connect, fault_of, transaction, use_write_ahead_log

LONGEST_WAIT = 5.0
"""Seconds to wait for another process at most, so that a daemon that is asked to stop can."""

_RIGHTS = "check the owner and mode of the file and its folder; SQLite writes to the folder even when it only reads"

_Result = TypeVar("_Result")


class Database:
    """The file of one store.

    `name` is the store's, for messages. `timeout` is in seconds. With `read_only` nothing is written, and a missing file is an
    empty store. If the file is replaced by another one, the next call opens that.
    """

    def __init__(self, name: str, path: Path, root: Path, *, timeout: float, read_only: bool) -> None:
        self.name, self.path, self._root = name, path.resolve(), root.resolve()
        self._timeout, self._read_only = min(timeout, LONGEST_WAIT), read_only
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._file_id: str | None = None
        self._thread: WorkerThread | None = None

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Run `work` in the file's thread. Raises StoreError for errors of SQLite."""
        if self._thread is None:
            self._thread = WorkerThread()
        return await self._thread.run(lambda: self._translated(work))

    async def file_id(self) -> str | None:
        """The id that the file contains; None if there is no file yet, or only one without an id that must not be written.
        Raises StoreError."""
        if self._connection is None or _inode(self.path) != self._inode:
            return await self.run(self._read_file_id)
        return self._file_id

    async def aclose(self) -> None:
        """Close the file after the current calls. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await thread.run(self._disconnect)
            thread.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection | None]:
        """A consistent view of the file for several queries; None if a read-only file does not exist."""
        connection = self._connect()
        if connection is None:
            yield None
            return
        with transaction(connection, "BEGIN"):
            yield connection

    @contextmanager
    def writing(self, count: int) -> Iterator[tuple[sqlite3.Connection, range]]:
        """One transaction of kvsync, with `count` fresh versions, and one more at the end for the namespace."""
        connection = self._connect()
        if connection is None:
            raise PermanentError(f"store {self.name}: opened for reading only; nothing was written")
        with transaction(connection):
            last: int = connection.execute(BEGIN_WRITING, (count,)).fetchone()[0]
            yield connection, range(last - count, last + 1)
            connection.execute(END_WRITING)

    @property
    def connected_id(self) -> str | None:
        """The id that the open file contains, as `file_id` returns it. For the file's thread."""
        return self._file_id

    def _read_file_id(self) -> str | None:
        return self._file_id if self._connect() is not None else None

    def _translated(self, work: Callable[[], _Result]) -> _Result:
        try:
            return work()
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _connect(self) -> sqlite3.Connection | None:
        inode = _inode(self.path)
        if self._connection is not None and inode == self._inode:
            return self._connection
        self._disconnect()
        self._check_path()
        if inode is None and self._read_only:
            return None
        connection = self._open()
        with closed_on_error(connection):
            has_tables = self._prepare(connection)
            file_id = _file_id(connection) if has_tables else None
        if not has_tables:
            connection.close()
            return None
        # In this order: `file_id` runs in another thread, and believes the rest once there is a connection.
        self._file_id, self._inode = file_id, _inode(self.path)
        self._connection = connection
        return connection

    def _check_path(self) -> None:
        """Check the path before SQLite does, for better messages. A folder inside the root is created."""
        folder = self.path.parent
        if self.path.is_dir():
            raise PermanentError(f"store {self.name}: {self.path} is a folder; set path to a file")
        if folder.is_dir():
            return
        if not folder.is_relative_to(self._root):
            raise PermanentError(f"store {self.name}: the folder {folder} does not exist; create it, or correct path")
        if self._read_only:
            return
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise PermanentError(
                f"store {self.name}: cannot create the folder {folder}: {error.strerror}; correct path"
            ) from error

    def _open(self) -> sqlite3.Connection:
        if not self._read_only:
            with suppress(OSError):  # SQLite says what is wrong
                return self._client(create=True)
        return self._client(create=False)

    def _client(self, *, create: bool) -> sqlite3.Connection:
        return connect(
            self.path,
            timeout=self._timeout,
            create=create,
            read_only=self._read_only,
            pragmas={"synchronous": "NORMAL"},
        )

    def _prepare(self, connection: sqlite3.Connection) -> bool:
        """Create missing tables; False if there are none and none may be created."""
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > FORMAT:
            raise PermanentError(
                f"store {self.name}: {self.path} was written by a newer release of kvsync; upgrade kvsync"
            )
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "entries" in tables and not tables >= TABLES:
            raise PermanentError(
                f"store {self.name}: {self.path} has a table named entries that kvsync did not create; set another path"
            )
        if not tables >= TABLES and self._read_only:
            return False
        if version < FORMAT and not self._read_only:
            _make_tables(connection)
        if not self._read_only:
            # Busy just now: any mode is correct, and the next opener tries again.
            with suppress(sqlite3.OperationalError):
                use_write_ahead_log(connection)
        return True

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _explained(self, error: sqlite3.Error) -> StoreError:
        where = f"store {self.name}: {self.path}"
        match fault_of(error):
            case Fault.LOCKED:
                return TransientError(
                    f"{where} is locked by another process, and has been for {self._timeout:g} s; end that process, or wait"
                )
            case Fault.FULL:
                return TransientError(f"{where}: the disk is full; free some space")
            case Fault.DISK:
                return TransientError(f"{where}: disk error; check its space, quota and health")
            case Fault.DAMAGED | Fault.NOT_A_DATABASE:
                return PermanentError(f"{where} is damaged or not a SQLite database; restore a copy, or move it away")
            case Fault.DESCRIPTORS:
                how = "raise the limit (LimitNOFILE of systemd, or ulimit -n)"
                return TransientError(f"{where} cannot be opened: too many open files; {how}")
            case Fault.CANNOT_OPEN:
                return PermanentError(f"{where} cannot be opened; {_RIGHTS}")
            case Fault.READ_ONLY | Fault.DENIED:
                return PermanentError(f"{where} is not writable; {_RIGHTS}")
        if str(error).startswith("Could not decode"):  # the rest of the message would show what is stored
            return PermanentError(f"{where}: an entry contains text that is not UTF-8; correct or delete it")
        return PermanentError(f"{where}: {error}")


def _make_tables(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        for statement in _statements(SCHEMA):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {FORMAT}")


def _file_id(connection: sqlite3.Connection) -> str | None:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'entries_file'").fetchone() is None:
        return None
    row = connection.execute(FILE_ID).fetchone()
    return str(row[0]) if row is not None else None


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script: `executescript` would commit the current transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
