"""SQLite files: how they are opened, transactions, and what an error means.

Connections do not begin transactions by themselves; `transaction` does.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from types import MappingProxyType
from typing import Final

from kvsync.util.private_files import make_private

_TURN: Final = 0.01
"""Seconds between two tries where SQLite does not wait automatically."""


def _skip_adaption() -> None:
    """Let NULL and blobs be bound as they are. Without an adapter, `sqlite3` asks every such value for `__conform__`, and drops
    an AttributeError each time: that takes longer than writing the value. These adapters return what they are given, without
    a call of a Python function."""
    sqlite3.register_adapter(type(None), {None: None}.__getitem__)
    sqlite3.register_adapter(bytes, bytes.__bytes__)


_skip_adaption()


class Fault(Enum):
    """Kinds of SQLite errors that need different messages."""

    FULL = auto()
    READ_ONLY = auto()
    DENIED = auto()
    CANNOT_OPEN = auto()
    DESCRIPTORS = auto()
    LOCKED = auto()
    DISK = auto()
    DAMAGED = auto()
    NOT_A_DATABASE = auto()
    OTHER = auto()


_FAULTS: Final = {
    sqlite3.SQLITE_FULL: Fault.FULL,
    sqlite3.SQLITE_READONLY: Fault.READ_ONLY,
    sqlite3.SQLITE_PERM: Fault.DENIED,
    sqlite3.SQLITE_CANTOPEN: Fault.CANNOT_OPEN,
    sqlite3.SQLITE_BUSY: Fault.LOCKED,
    sqlite3.SQLITE_LOCKED: Fault.LOCKED,
    sqlite3.SQLITE_IOERR: Fault.DISK,
    sqlite3.SQLITE_CORRUPT: Fault.DAMAGED,
    sqlite3.SQLITE_NOTADB: Fault.NOT_A_DATABASE,
}


def fault_of(error: BaseException) -> Fault:
    """The kind of an error, by the primary result code of SQLite; OTHER for errors without one."""
    found = _FAULTS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, Fault.OTHER)
    return Fault.DESCRIPTORS if found is Fault.CANNOT_OPEN and _are_descriptors_used_up() else found


def _are_descriptors_used_up() -> bool:
    """True when this process cannot open another file, of which SQLite says only that it cannot open it."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    return False


def connect(
    file: Path | None,
    *,
    timeout: float,
    create: bool = False,
    read_only: bool = False,
    immutable: bool = False,
    pragmas: Mapping[str, str] = MappingProxyType({}),
) -> sqlite3.Connection:
    """Open a file, or a database in memory where there is none. Raises sqlite3.Error, and OSError where `create` fails.

    `timeout` is how many seconds to wait for another process. `create` makes a missing file first, with mode 0600: SQLite
    would leave the mode to the umask. `immutable` tells SQLite that nobody has the file open. Connections may be used from
    several threads, one at a time.
    """
    if file is None:
        uri = ":memory:"
    else:
        if create:
            make_private(file)
        mode = "ro" if read_only else "rw"
        uri = f"{file.absolute().as_uri()}?mode={mode}" + ("&immutable=1" if immutable else "")
    connection = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)
    with closed_on_error(connection):
        for name, value in pragmas.items():
            connection.execute(f"PRAGMA {name} = {value}")
    return connection


@contextmanager
def closed_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    """Context that closes the connection if preparing it fails."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
    """Context of a transaction: committed at its end, rolled back by an exception. Raises sqlite3.Error."""
    connection.execute(begin)
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled back already
            with suppress(sqlite3.Error):  # the first error says what is wrong
                connection.execute("ROLLBACK")
        raise


def use_write_ahead_log(connection: sqlite3.Connection, seconds: float = 0.0) -> None:
    """Switch to the write-ahead log. SQLite does not wait automatically for others who are just doing the same: keep trying for
    so many seconds. Raises sqlite3.Error."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if fault_of(error) is not Fault.LOCKED or time.monotonic() > deadline:
                raise
            time.sleep(_TURN)
        else:
            return
