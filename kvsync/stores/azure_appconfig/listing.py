"""Lists key-values with a conditional request per page.

    first page ── 304 ──> next ── 304 ──> next ── 200 ──> next …        as the links go, from the server or from the cache
                     \\______ asked for ahead, ever more at once while nothing changed ______/

A page is known by where it is; its ETag covers its entries and where the next one begins. While pages turn out unchanged,
those behind them are asked for ahead, since their place is known; a page that changed ends that, unless the next page is where
it was.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Final

from kvsync.errors import TransientError
from kvsync.http.model import Request, Response
from kvsync.http.paging import ListingLimit
from kvsync.model.answer_limits import AnswerLimits
from kvsync.stores.azure_appconfig.items import Row, row_of
from kvsync.stores.azure_appconfig.pages import Page, PageCache
from kvsync.stores.azure_appconfig.requests import etag_of, items_of, next_target, quoted
from kvsync.util.clock import Clock

Send = Callable[[Request], Awaitable[Response]]

_MOST_AHEAD: Final = 16
"""Pages asked for before it is known whether they are still where they were."""


class Listing:
    """The pages of one store. `send` sends a read."""

    def __init__(self, send: Send, cache: PageCache, limits: AnswerLimits, clock: Clock) -> None:
        self._send, self._cache, self._limits, self._clock = send, cache, limits, clock

    async def walk(self, scope: str, first: str, what: str, *, fresh: bool = False) -> list[Page]:
        """All pages from the one at `first` on; unchanged ones without rows. `scope` names the listing in the cache, `fresh`
        asks for everything. Raises StoreError."""
        known = {} if fresh else self._cache.chain(scope)
        pages: list[Page] = []
        async with _Prefetcher(known, lambda target: self._page(target, known.get(target), what)).open() as ahead:
            target: str | None = first
            seen: set[str] = set()
            limit = ListingLimit(what, self._limits, self._clock)
            while target is not None:
                if target in seen:
                    raise TransientError(f"{what} failed: the pages form a loop")
                seen.add(target)
                page = await ahead.get(target)
                limit.count(len(page.rows or ()), page.size, is_last=page.next is None, is_known=page.rows is None)
                pages.append(page)
                target = page.next
        if len(known) != len(pages) or any(page.rows is not None for page in pages):
            self._cache.keep(scope, pages)
        return pages

    def rows(self, scope: str, pages: Iterable[Page]) -> list[Row] | None:
        """The rows of pages that `walk` gave; None when the cache has lost some of them."""
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
        try:
            rows = tuple(row_of(item) for item in items_of(answer.data))
            etag = etag_of(answer) or answer.data["etag"]
            following = next_target(answer, answer.data)
        except (KeyError, TypeError, AttributeError, ValueError):
            raise TransientError(
                f"{what} failed: the response is not a list of key-values; check the endpoint"
            ) from None
        return Page(target, etag, following, rows, len(answer.body))


class _Prefetcher:
    """Pages asked for before their turn, along the links of the last walk."""

    def __init__(self, known: Mapping[str, Page], fetch: Callable[[str], Awaitable[Page]]) -> None:
        self._known, self._fetch = known, fetch
        self._asked: deque[tuple[str, asyncio.Task[Page]]] = deque()
        self._width = 1

    @asynccontextmanager
    async def open(self) -> AsyncIterator[_Prefetcher]:
        """Leaves nothing running behind."""
        try:
            yield self
        finally:
            await self._drop()

    async def get(self, target: str) -> Page:
        """The page at `target`, whose turn it is."""
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
    """What represents the state that these pages show."""
    lines = [endpoint, first, *(page.etag for page in pages)]
    return sha256("\n".join(lines).encode()).hexdigest()[:32]
