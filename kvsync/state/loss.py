"""Detection of a `state.db` that another program removed, truncated or overwritten while this process uses it.

SQLite answers from its cache and its log, so it does not notice. Each check reads the status of both files. If something else
wrote to one, a new connection, which has no cache, must find the last transaction; then it was another kvsync, or a tool that
moves the log into the database. The log can hide an older copy that was put over the database, so the database is read without
its log, too: the number of transactions in it never goes back. All pages are checked as well, but in the background, because
that takes as long as reading the file.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from math import inf
from pathlib import Path
from typing import Final

from kvsync.errors import StateDirLost
from kvsync.state.file_watch import WatchedFile
from kvsync.state.generation import read_generation
from kvsync.util.background import start_thread
from kvsync.util.sqlite import Fault, connect, fault_of

_RESTORE: Final = "stop kvsync, restore the file or move it away"
_RESTART: Final = "restart kvsync, and restore the state directory if it does not start"

_LOST: Final = (Fault.DAMAGED, Fault.NOT_A_DATABASE)
_LOST_CODES: Final = (sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_ERROR)
"""The file ends too early, or a table is missing."""

_TORN_SECONDS: Final = 0.05
"""After which a file is read again that another process may be moving the log into."""

_STEPS_OF_A_CHECK: Final = 1_000
"""Steps of SQLite between two looks at whether the check of all pages is still wanted."""


class LossDetector:
    """Watches the files under an open connection. `log_bytes` is the size to which SQLite may cut the log, `busy_seconds` how
    long to wait for another process."""

    def __init__(self, connection: sqlite3.Connection, file: Path, log_bytes: int, busy_seconds: float) -> None:
        self._connection, self._file, self._busy_seconds = connection, file, busy_seconds
        self._last = read_generation(connection)  # makes the log, which is watched from then on
        self._database = WatchedFile(file, inf, _RESTORE)
        self._log = WatchedFile(file.with_name(f"{file.name}-wal"), log_bytes, _RESTART)
        self._stored = self._read_stored() or 0
        self._pages = _PageCheck(file, busy_seconds)

    def check(self) -> None:
        """Raise StateDirLost if what was written is not there any more, or new rows would be lost. Raises sqlite3.Error if
        that cannot be found out now."""
        self._check_files()
        if self._has_changed:
            self._examine()
            self._pages.start()
        if self._pages.found_damage:
            raise self._loss(self._database.overwritten())
        self._accept()

    def remember(self) -> None:
        """Take note of the last transaction, which must be found from now on. Raises sqlite3.Error."""
        self._last = read_generation(self._connection)

    def close(self) -> None:
        """Stop what runs in the background: a file that it has open would keep the log from being moved into the database when
        the last connection closes. Idempotent."""
        self._pages.stop()

    def committed(self, number: int) -> None:
        """Take note of the transaction of this process with this number, which may have moved the log into the database. Raises
        StateDirLost, sqlite3.Error."""
        self._check_files()
        if self._database.has_shrunk or self._log.has_shrunk:
            self._examine()
        elif self._database.has_changed and self._is_older():
            raise self._loss(self._database.overwritten())
        self._accept()
        self._last = number

    @property
    def _has_changed(self) -> bool:
        return self._database.has_changed or self._log.has_changed

    def _check_files(self) -> None:
        for file in (self._database, self._log):
            if (wrong := file.check()) is not None:
                raise self._loss(wrong)
        if self._database.is_emptied:
            raise self._loss(self._database.overwritten())

    def _accept(self) -> None:
        self._database.accept()
        self._log.accept()

    def _examine(self) -> None:
        if not self._is_intact():
            changed = self._database if self._database.has_changed else self._log
            raise self._loss(changed.overwritten())

    def _is_intact(self) -> bool:
        try:
            with closing(connect(self._file, timeout=self._busy_seconds, read_only=True)) as fresh:
                return read_generation(fresh) >= self._last and not self._is_older()
        except sqlite3.DatabaseError as error:
            if fault_of(error) in _LOST or error.sqlite_errorcode in _LOST_CODES:
                return False
            raise

    def _is_older(self) -> bool:
        """Whether the database without its log has lost something since the last look at it."""
        found = self._read_stored()
        if found is not None and found < self._stored:
            time.sleep(_TORN_SECONDS)
            found = self._read_stored()
        if found is None:
            return False
        is_older = found < self._stored
        self._stored = self._stored if is_older else found
        return is_older

    def _read_stored(self) -> int | None:
        """What the database has without its log; None if another process is just moving the log into it."""
        try:
            with closing(connect(self._file, timeout=self._busy_seconds, read_only=True, immutable=True)) as alone:
                return read_generation(alone)
        except sqlite3.DatabaseError:
            return None

    def _loss(self, reason: str) -> StateDirLost:
        return StateDirLost(str(self._file.parent), reason)


class _PageCheck:
    """Check of all pages of a database, in a thread of its own."""

    def __init__(self, file: Path, busy_seconds: float) -> None:
        self._file, self._busy_seconds = file, busy_seconds
        self._is_stopped = False
        self._idle = threading.Event()
        self._idle.set()
        self.found_damage = False

    def start(self) -> None:
        """Begin, unless one is running: what changes meanwhile is found by the next one, or when it is read."""
        if self._idle.is_set() and not self._is_stopped:
            self._idle.clear()
            try:
                start_thread(self._run)
            except BaseException:
                self._idle.set()
                raise

    def stop(self) -> None:
        """Break off what is running, and wait until it has closed its file. Idempotent."""
        self._is_stopped = True
        self._idle.wait(self._busy_seconds)

    def _run(self) -> None:
        try:
            with closing(connect(self._file, timeout=self._busy_seconds, read_only=True)) as fresh:
                fresh.set_progress_handler(lambda: self._is_stopped, _STEPS_OF_A_CHECK)
                self.found_damage = fresh.execute("PRAGMA quick_check(1)").fetchone() != ("ok",)
        except sqlite3.DatabaseError as error:
            self.found_damage = fault_of(error) is Fault.DAMAGED
        finally:
            self._idle.set()
