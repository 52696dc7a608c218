"""Cache file of listing pages, so that unchanged pages are not transferred again.

Values are kept only where they are ours and not sensitive. It is a cache: where it cannot be used it is done without, and a
damaged one is made again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from kvsync.stores.azure_appconfig.items import Row, may_be_kept
from kvsync.util.sqlite import Fault, closed_on_error, connect, fault_of, transaction

_FORMAT: Final = 1
_FILE: Final = "pages.db"
_WAIT: Final = 1.0
"""Seconds to wait for another process; a cache is not worth more."""

_TABLES: Final = f"""
DROP TABLE IF EXISTS page;
DROP TABLE IF EXISTS token;
CREATE TABLE page (scope TEXT, target TEXT, etag TEXT, next TEXT, rows TEXT, PRIMARY KEY (scope, target)) WITHOUT ROWID;
CREATE TABLE token (endpoint TEXT, id TEXT, value TEXT, number INTEGER, PRIMARY KEY (endpoint, id)) WITHOUT ROWID;
PRAGMA user_version = {_FORMAT};
"""
_DAMAGED: Final = frozenset({Fault.DAMAGED, Fault.NOT_A_DATABASE})

_Result = TypeVar("_Result")
Token = tuple[str, str, int]
"""Name, value and number of a Sync-Token."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page: where it is, its version, where the next one is. `rows` is None when they are still in the cache. `size` is in
    bytes, as it came."""

    target: str
    etag: str
    next: str | None
    rows: tuple[Row, ...] | None = None
    size: int = 0


class PageCache:
    """A file in `folder`; without one, the memory of this process. `owner` says whose values may be kept."""

    def __init__(self, folder: Path | None, owner: str) -> None:
        self._folder, self._owner = folder, owner
        self._connection: sqlite3.Connection | None = None

    def chain(self, scope: str) -> dict[str, Page]:
        """All pages known of a listing, without their rows, by target."""

        def work(connection: sqlite3.Connection) -> dict[str, Page]:
            found = connection.execute("SELECT target, etag, next FROM page WHERE scope = ?", (scope,))
            return {target: Page(target, etag, link) for target, etag, link in found}

        return self._use(work, {}, "BEGIN")

    def rows(self, scope: str) -> dict[str, tuple[Row, ...]]:
        """The rows of all pages known of a listing, by target."""

        def work(connection: sqlite3.Connection) -> dict[str, tuple[Row, ...]]:
            found = connection.execute("SELECT target, rows FROM page WHERE scope = ?", (scope,))
            return {target: _loaded(text) for target, text in found}

        return self._use(work, {}, "BEGIN")

    def keep(self, scope: str, pages: Iterable[Page]) -> None:
        """Remember what a listing brought, and forget the pages that are not part of it."""
        walked = list(pages)
        fresh = [
            (scope, page.target, page.etag, page.next, _dumped(page.rows, self._owner))
            for page in walked
            if page.rows is not None
        ]

        def work(connection: sqlite3.Connection) -> None:
            known = {target for (target,) in connection.execute("SELECT target FROM page WHERE scope = ?", (scope,))}
            gone = known - {page.target for page in walked}
            connection.executemany("DELETE FROM page WHERE scope = ? AND target = ?", [(scope, one) for one in gone])
            connection.executemany("INSERT OR REPLACE INTO page VALUES (?, ?, ?, ?, ?)", fresh)

        self._use(work, None)

    def forget(self, scope: str) -> None:
        """Forget a listing."""
        self._use(lambda connection: connection.execute("DELETE FROM page WHERE scope = ?", (scope,)), None)

    def tokens(self, endpoint: str) -> list[Token]:
        """The Sync-Tokens that an earlier process was given."""
        query = "SELECT id, value, number FROM token WHERE endpoint = ?"
        return self._use(lambda connection: connection.execute(query, (endpoint,)).fetchall(), [], "BEGIN")

    def keep_tokens(self, endpoint: str, tokens: Iterable[Token]) -> None:
        """Remember Sync-Tokens for the next process."""
        rows = [(endpoint, *token) for token in tokens]
        query = "INSERT OR REPLACE INTO token VALUES (?, ?, ?, ?)"
        self._use(lambda connection: connection.executemany(query, rows), None)

    def close(self) -> None:
        """Close the file. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _use(
        self, work: Callable[[sqlite3.Connection], _Result], otherwise: _Result, begin: str = "BEGIN IMMEDIATE"
    ) -> _Result:
        """Do `work` in one transaction; what cannot be done is left, and a damaged file thrown away."""
        try:
            if self._connection is None:
                self._connection = self._client()
            with transaction(self._connection, begin) as connection:
                return work(connection)
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            self.close()
            is_damaged = fault_of(error) in _DAMAGED or isinstance(error, ValueError | TypeError)
            if is_damaged and self._folder is not None:
                (self._folder / _FILE).unlink(missing_ok=True)
            return otherwise

    def _client(self) -> sqlite3.Connection:
        file = None
        if self._folder is not None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = self._folder / _FILE
        connection = connect(file, timeout=_WAIT, create=True, pragmas={"synchronous": "OFF"})
        with closed_on_error(connection):
            if connection.execute("PRAGMA user_version").fetchone()[0] != _FORMAT:
                connection.executescript(_TABLES)
        return connection


def _dumped(rows: Iterable[Row], owner: str) -> str:
    kept = (
        (*row[:3], row.fingerprint.hex(), *row[4:7], row.value if may_be_kept(row, owner) else None, row.locked)
        for row in rows
    )
    return json.dumps(list(kept), ensure_ascii=False, separators=(",", ":"))


def _loaded(text: str) -> tuple[Row, ...]:
    return tuple(Row._make((*row[:3], bytes.fromhex(row[3]), *row[4:])) for row in json.loads(text))
