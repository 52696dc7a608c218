"""Number of the last transaction that wrote to `state.db`, in the database and in a file next to it.

A process notices with it that the database under it was replaced by an older copy, and the next one that this happened between
the two: pauses and approvals that are missing then would otherwise be missed by nobody.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

FILE_NAME: Final = "generation"

_READ: Final = "SELECT number FROM generation"
_COUNT: Final = "UPDATE generation SET number = number + 1"


def read_generation(connection: sqlite3.Connection) -> int:
    """How many transactions have written. Raises sqlite3.Error."""
    (number,) = connection.execute(_READ).fetchone()
    return int(number)


def count_transaction(connection: sqlite3.Connection) -> int:
    """Count one more, within it; returns its number. Raises sqlite3.Error."""
    connection.execute(_COUNT)
    return read_generation(connection)


class GenerationFile:
    """The file next to the database. It is written after each commit, so it is never ahead of a database that lost nothing,
    and not being able to write it is not an error. Idle until the first `write`."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE_NAME
        self._descriptor: int | None = None

    def read(self) -> int:
        """The number in it; 0 if there is none."""
        with suppress(OSError, ValueError):
            return int(self._file.read_bytes()[:20])
        return 0

    def write(self, number: int) -> None:
        """Replace the number."""
        with suppress(OSError):
            if self._descriptor is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                self._descriptor = os.open(self._file, flags, 0o600)
            os.pwrite(self._descriptor, b"%19d\n" % number, 0)

    def remove(self) -> None:
        """Forget the number, because the database begins again. Raises OSError."""
        self._file.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the file. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
