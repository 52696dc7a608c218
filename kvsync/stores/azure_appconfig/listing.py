"""Listing of key-values with a conditional request per page.

    first page ── 304 ──> next ── 304 ──> next ── 200 ──> next …        along the links, from the server or from the cache
                     \\______ requested ahead, more at a time while nothing has changed ______/

A page is known by its address; its ETag covers its entries and the link to the next one. As long as pages turn out unchanged,
those behind them are requested ahead. A changed page ends that, unless the next page has the same address.

Pages are cached in a file. It keeps values only of entries that are ours and not sensitive.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from kvsync.http.failures import understood
from kvsync.http.model import Request, Response
from kvsync.http.paging import ListingPage, walk
from kvsync.stores.azure_appconfig.api import etag_of, items_of, next_target, quoted
from kvsync.stores.azure_appconfig.items import Row, may_be_kept, row_of
from kvsync.stores.azure_appconfig.resources import Resource
from kvsync.stores.remote_store import Connection
from kvsync.util.cache_file import CacheFile

Send = Callable[[Request], Awaitable[Response]]

_MOST_AHEAD: Final = 16
"""Pages requested before it is known whether they still have the same address."""

_FORMAT: Final = 2
_TABLES: Final = """
DROP TABLE IF EXISTS page;
DROP TABLE IF EXISTS token;
CREATE TABLE page (scope TEXT, target TEXT, etag TEXT, next TEXT, rows TEXT, PRIMARY KEY (scope, target)) WITHOUT ROWID;
CREATE TABLE token (endpoint TEXT, id TEXT, value TEXT, number INTEGER, PRIMARY KEY (endpoint, id)) WITHOUT ROWID
"""

Token = tuple[str, str, int]
"""Name, value and number of a Sync-Token."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its address, its version, and the address of the next one. `rows` is None while they are in the cache only.
    `size` is in bytes, as received."""

    target: str
    etag: str
    next: str | None
    rows: tuple[Row, ...] | None = None
    size: int = 0


class Listing:
    """The pages of one store. `send` sends a read, `resource` is what it lists."""

    def __init__(self, connection: Connection, send: Send, cache: PageCache, resource: Resource) -> None:
        self._connection, self._send, self._cache, self._resource = connection, send, cache, resource

    async def walk(self, scope: str, first: str, what: str, *, fresh: bool = False) -> list[Page]:
        """All pages, beginning with the one at `first`; unchanged ones without rows. `scope` names the listing in the cache;
        with `fresh`, everything is requested. Raises StoreError."""
        known = {} if fresh else self._cache.chain(scope)
        limit = self._connection.listing_limit(what)
        async with _Prefetcher(known, lambda target: self._page(target, known.get(target), what)).open() as ahead:

            async def fetch(target: str) -> ListingPage[Page, str]:
                page = await ahead.get(target)
                rows = page.rows or ()
                begins_with = (rows[0].key, rows[0].label) if rows else None
                return ListingPage(page, len(rows), page.size, page.next, page.rows is None, begins_with)

            pages = [one.content async for one in walk(first, fetch, limit)]
        if len(known) != len(pages) or any(page.rows is not None for page in pages):
            self._cache.keep(scope, pages)
        return pages

    def rows(self, scope: str, pages: Iterable[Page]) -> list[Row] | None:
        """The rows of pages from `walk`; None if the cache has lost some of them."""
        pages = list(pages)
        kept = self._cache.rows(scope) if any(page.rows is None for page in pages) else {}
        rows: list[Row] = []
        for page in pages:
            found = page.rows if page.rows is not None else kept.get(page.target)
            if found is None:
                return None
            rows += found
        return rows

    async def _page(self, target: str, known: Page | None, what: str) -> Page:
        headers = {} if known is None else {"If-None-Match": quoted(known.etag)}
        answer = await self._send(Request("GET", target, what, headers, expects=(200, 304), is_json=True))
        if answer.status == 304 and known is not None:
            return known
        with understood(self._connection.label, what, f"a list of {self._resource.kind[2:]}s", answer):
            rows = tuple(row_of(self._resource.read(item)) for item in items_of(answer.data))
            etag = etag_of(answer) or answer.data["etag"]
            return Page(target, etag, next_target(answer, answer.data), rows, len(answer.body))


class _Prefetcher:
    """Requests pages ahead, along the links of the last walk."""

    def __init__(self, known: Mapping[str, Page], fetch: Callable[[str], Awaitable[Page]]) -> None:
        self._known, self._fetch = known, fetch
        self._asked: deque[tuple[str, asyncio.Task[Page]]] = deque()
        self._width = 1

    @asynccontextmanager
    async def open(self) -> AsyncIterator[_Prefetcher]:
        """The context of a walk; it ends all requests."""
        try:
            yield self
        finally:
            await self._drop()

    async def get(self, target: str) -> Page:
        """The next page, at `target`."""
        if self._asked and self._asked[0][0] != target:
            await self._drop()
        self._ask(target)
        _, task = self._asked.popleft()
        page = await task
        self._width = 1 if page.rows is not None else min(_MOST_AHEAD, 2 * self._width)
        return page

    def _ask(self, target: str) -> None:
        last = self._asked[-1][0] if self._asked else None
        following = target if last is None else self._after(last)
        while following is not None and len(self._asked) < self._width:
            self._asked.append((following, asyncio.ensure_future(self._fetch(following))))
            following = self._after(following)

    def _after(self, target: str) -> str | None:
        page = self._known.get(target)
        return page.next if page is not None and page.next in self._known else None

    async def _drop(self) -> None:
        tasks = [task for _, task in self._asked]
        self._asked.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def token_of(endpoint: str, first: str, pages: Iterable[Page]) -> str:
    """A digest of the state that these pages show."""
    lines = [endpoint, first, *(page.etag for page in pages)]
    return sha256("\n".join(lines).encode()).hexdigest()[:32]


class PageCache:
    """Pages and Sync-Tokens in a file in `folder`; without one, in the memory of this process. Values of entries of `owner` may
    be kept."""

    def __init__(self, folder: Path | None, owner: str) -> None:
        self._file, self._owner = CacheFile(folder and folder / "pages.db", _TABLES, _FORMAT), owner

    def chain(self, scope: str) -> dict[str, Page]:
        """All cached pages of a listing, without their rows, by target."""

        def work(connection: sqlite3.Connection) -> dict[str, Page]:
            found = connection.execute("SELECT target, etag, next FROM page WHERE scope = ?", (scope,))
            return {target: Page(target, etag, link) for target, etag, link in found}

        return self._file.read(work, {})

    def rows(self, scope: str) -> dict[str, tuple[Row, ...]]:
        """The rows of all cached pages of a listing, by target."""

        def work(connection: sqlite3.Connection) -> dict[str, tuple[Row, ...]]:
            found = connection.execute("SELECT target, rows FROM page WHERE scope = ?", (scope,))
            return {target: _loaded(text) for target, text in found}

        return self._file.read(work, {})

    def keep(self, scope: str, pages: Iterable[Page]) -> None:
        """Cache the pages of a listing, and drop pages that are no longer part of it."""
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

        self._file.write(work)

    def tokens(self, endpoint: str) -> list[Token]:
        """The Sync-Tokens of an earlier process."""
        query = "SELECT id, value, number FROM token WHERE endpoint = ?"
        return self._file.read(lambda connection: connection.execute(query, (endpoint,)).fetchall(), [])

    def keep_tokens(self, endpoint: str, tokens: Iterable[Token]) -> None:
        """Keep Sync-Tokens for the next process."""
        rows = [(endpoint, *token) for token in tokens]
        query = "INSERT OR REPLACE INTO token VALUES (?, ?, ?, ?)"
        self._file.write(lambda connection: connection.executemany(query, rows))

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()


def _dumped(rows: Iterable[Row], owner: str) -> str:
    kept = (
        (*row[:3], row.fingerprint.hex(), *row[4:7], row.value if may_be_kept(row, owner) else None, *row[8:])
        for row in rows
    )
    return json.dumps(list(kept), ensure_ascii=False, separators=(",", ":"))


def _loaded(text: str) -> tuple[Row, ...]:
    return tuple(Row._make((*row[:3], bytes.fromhex(row[3]), *row[4:])) for row in json.loads(text))
