"""SQLite file of a cache: read and write errors are ignored, and a damaged file is deleted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from kvsync.util.sqlite import Fault, closed_on_error, connect, fault_of, transaction

_WAIT: Final = 1.0
"""Seconds to wait for another process; a cache is not worth more."""

_DAMAGED: Final = frozenset({Fault.DAMAGED, Fault.NOT_A_DATABASE})

_Result = TypeVar("_Result")


class CacheFile:
    """The file at `path`, or the memory of this process without one. `tables` is a script that drops and makes its tables in a
    file of another `version` (`PRAGMA user_version`)."""

    def __init__(self, path: Path | None, tables: str, version: int) -> None:
        self._path, self._tables, self._version = path, tables, version
        self._connection: sqlite3.Connection | None = None

    def read(self, work: Callable[[sqlite3.Connection], _Result], otherwise: _Result) -> _Result:
        """The result of `work` in one transaction that reads; `otherwise` if that fails."""
        return self._use(work, otherwise, "BEGIN")

    def write(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Run `work` in one transaction, as far as that is possible."""
        self._use(work, None, "BEGIN IMMEDIATE")

    def close(self) -> None:
        """Close the file. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _use(self, work: Callable[[sqlite3.Connection], _Result], otherwise: _Result, begin: str) -> _Result:
        try:
            if self._connection is None:
                self._connection = self._open()
            with transaction(self._connection, begin) as connection:
                return work(connection)
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            self.close()
            is_damaged = fault_of(error) in _DAMAGED or isinstance(error, ValueError | TypeError)
            if is_damaged and self._path is not None:
                self._path.unlink(missing_ok=True)
            return otherwise

    def _open(self) -> sqlite3.Connection:
        if self._path is not None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = connect(self._path, timeout=_WAIT, create=True, pragmas={"synchronous": "OFF"})
        with closed_on_error(connection):
            if connection.execute("PRAGMA user_version").fetchone()[0] != self._version:
                connection.executescript(f"{self._tables}; PRAGMA user_version = {self._version};")
        return connection
