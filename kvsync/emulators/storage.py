"""Persistent storage: documents in one SQLite file, or in memory without a folder.

Emulators hold their state in memory and write every document through. Nothing is synced to the disk: a killed process
loses nothing that it answered, a crashed machine may.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from kvsync.errors import UsageError

_SCHEMA: Final = """
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS documents (
    kind TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (kind, name)
) WITHOUT ROWID;
BEGIN IMMEDIATE;
COMMIT;
"""


class Storage:
    """Documents by kind and name. Changes are kept from `commit` on."""

    def __init__(self, file: Path | None = None) -> None:
        """Open or make the file; None keeps nothing. Raises UsageError when it cannot be used."""
        self._database: sqlite3.Connection | None = None
        if file is None:
            return
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):  # SQLite says what is wrong; left alone, it would leave the mode to the umask
                os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._database = sqlite3.connect(file, timeout=0.2)
            self._database.executescript(_SCHEMA)
        except OSError as error:
            raise UsageError(f"the folder {file.parent} cannot be made: {error.strerror or error}") from None
        except sqlite3.Error as error:
            raise UsageError(f"{file} cannot be used ({error}); is another emulator running on this folder?") from None

    @property
    def is_persistent(self) -> bool:
        """Whether anything is kept at all; documents that are dear to make need not be made otherwise."""
        return self._database is not None

    def put(self, kind: str, name: str, document: str) -> None:
        """Keep a document in place of the one of that name."""
        if self._database is not None:
            self._database.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", (kind, name, document))

    def delete(self, kind: str, name: str) -> None:
        """Forget a document."""
        if self._database is not None:
            self._database.execute("DELETE FROM documents WHERE kind = ? AND name = ?", (kind, name))

    def clear(self, kind: str) -> None:
        """Forget all documents of a kind."""
        if self._database is not None:
            self._database.execute("DELETE FROM documents WHERE kind = ?", (kind,))

    def items(self, kind: str) -> Iterator[tuple[str, str]]:
        """Names and documents of a kind, by name."""
        if self._database is not None:
            query = "SELECT name, document FROM documents WHERE kind = ? ORDER BY name"
            yield from self._database.execute(query, (kind,))

    def commit(self) -> None:
        """Keep what was changed."""
        if self._database is not None and self._database.in_transaction:
            self._database.commit()

    def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            self._database.close()
