"""The two ways to read a whole key-value store: its keys and sizes, a thousand per page, and a ZIP of all records.

A listing is complete when its last page says, in both ways in which the API says it, that nothing follows. Pages that repeat
keys, that point back, or that do not say what follows may have left something out.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from kvsync.errors import PermanentError, StoreError, TransientError
from kvsync.http.archive import Download, UnreliableArchiveError, open_archive
from kvsync.http.failures import excerpt
from kvsync.http.model import Request
from kvsync.http.paging import ListingPage, walk
from kvsync.stores.apify.api import KEY, LEDGER_KEY, PAGE
from kvsync.stores.apify.content import archived, hasher, listed
from kvsync.stores.apify.records import read
from kvsync.stores.apify.remote import KeyValueStore, Remote
from kvsync.stores.partial import ended_early
from kvsync.util.concurrency import gather_or_cancel

_ABSENT: Final = object()

_RATIO: Final = 10
"""Reads that one request of a scan must save, and records of others for each of ours in a ZIP."""

_MOST_BYTES: Final = 256 * 1024 * 1024
"""Bytes of values in a ZIP that is fetched for a scan."""


class ListingSize(NamedTuple):
    """Number of records and bytes of their values, as they were seen last."""

    records: int
    size: int

    def is_worth_scanning(self, absent: int, present: int) -> bool:
        """True if a listing for the `absent` records and a ZIP for the `present` ones save nearly all reads."""
        pages = self.records // PAGE + 1 if absent else 0
        archives = 1 if present else 0
        is_ours = not present or (self.size <= _MOST_BYTES and self.records <= _RATIO * present)
        return is_ours and _RATIO * (pages + archives) <= absent + present


class View(NamedTuple):
    """What was seen of a store: sizes in bytes and etags by key, the ledger if the store keeps it, and why entries may be
    missing."""

    sizes: dict[str, int]
    etags: dict[str, str]
    ledger: bytes | None = None
    problem: str | None = None

    @property
    def size(self) -> ListingSize:
        """How much the store holds."""
        return ListingSize(len(self.sizes), sum(self.sizes.values()))

    def token(self) -> str | None:
        """A digest of all that a listing shows, and of the ledger; None if something may be missing."""
        if self.problem is not None:
            return None
        digest = blake2b(self.ledger or b"", digest_size=16)
        digest.update("\n".join(f"{key} {size}" for key, size in sorted(self.sizes.items())).encode())
        return digest.hexdigest()


class SnapshotReader:
    """Reads one store as a whole. `prefix` is what the keys in view begin with; `keeps_ledger` says that the ledger is there
    too."""

    def __init__(
        self, remote: Remote, namespace: str, store: KeyValueStore, prefix: str, *, keeps_ledger: bool
    ) -> None:
        self._remote, self._namespace, self._store = remote, namespace, store
        self._prefix, self._keeps_ledger = prefix, keeps_ledger

    async def listed(self) -> View:
        """All keys, and at the same time the ledger. Raises StoreError."""
        pages = asyncio.ensure_future(self._list())
        ledger = asyncio.ensure_future(self.ledger())
        await gather_or_cancel([pages, ledger])
        sizes, problem = pages.result()
        sizes.pop(LEDGER_KEY, None)
        return View(sizes, {key: listed(size) for key, size in sizes.items()}, ledger.result(), problem)

    async def is_empty(self) -> bool:
        """True if a listing shows no key, except the ledger if the store keeps it. Raises StoreError."""
        sizes, problem = await self._list()
        kept = {LEDGER_KEY} if self._keeps_ledger else set()
        return problem is None and sizes.keys() <= kept

    async def archived(self) -> View | None:
        """All records, by one request; None if they cannot be had so, or there is any doubt about them."""
        limits = self._remote.connection.context.limits
        download = Download(limits.listing_bytes)
        call = Request(
            "GET",
            self._remote.targets.records(self._store.id, self._prefix),
            f"fetching all of {self._namespace}",
            limiter=self._store.others,
            sink=download,
        )
        try:
            # A failure says nothing about the store itself: another server of this API may not have this call.
            await self._remote.client.send(call)
            found = await asyncio.to_thread(open_archive, download, re.compile(KEY), LEDGER_KEY, hasher, limits)
            ledger = await self.ledger() if self._prefix else found.kept
        except (UnreliableArchiveError, StoreError):
            return None
        finally:
            download.close()
        sizes = {key: size for key, (size, _) in found.digests.items()}
        etags = {key: archived(digest) for key, (_, digest) in found.digests.items()}
        return View(sizes, etags, ledger if self._keeps_ledger else None)

    async def scanned(self, *, lists: bool, unpacks: bool) -> list[View | None]:
        """The listing without the ledger, then the ZIP, as far as they are asked for; None for a view that cannot be had.
        Raises StoreError."""
        views: list[View | None] = []
        if lists:
            sizes, problem = await self._list()
            sizes.pop(LEDGER_KEY, None)
            views.append(View(sizes, {key: listed(size) for key, size in sizes.items()}, None, problem))
        if unpacks:
            views.append(await self.archived())
        return views

    async def ledger(self) -> bytes | None:
        """The ledger, None if the store keeps none or has none yet. Raises StoreError."""
        if not self._keeps_ledger:
            return None
        held = await read(self._remote, self._namespace, self._store, LEDGER_KEY)
        return None if held is None else held.content.value

    async def _list(self) -> tuple[dict[str, int], str | None]:
        """Keys with their sizes, and why some may be missing. Raises StoreError if not even the first page can be read."""
        sizes, previous = dict[str, int](), ""
        limit = self._remote.connection.listing_limit(f"listing {self._namespace}")
        try:
            async with aclosing(walk("", self._fetch, limit)) as pages:
                async for page in pages:
                    known, keys = len(sizes), page.content
                    sizes |= keys.sizes
                    if problem := keys.problem or _disorder(page, len(sizes) - known, previous):
                        return sizes, problem
                    previous = page.next or ""
        except TransientError as error:
            if not sizes and not previous:
                raise
            return sizes, ended_early(len(sizes), error)
        return sizes, None

    async def _fetch(self, start: str) -> ListingPage[Keys, str]:
        what = f"listing {self._namespace}"
        target = self._remote.targets.keys(self._store.id, self._prefix, start)
        call = Request("GET", target, what, is_json=True, limiter=self._store.others)
        answer = await self._remote.namespaces.ask(self._namespace, call)
        try:
            keys = page_of(answer.data)
        except ValueError as problem:
            raise PermanentError(
                f"{self._remote.label}: {what} failed: the response is {problem} ({excerpt(call, answer)}); check the endpoint"
            ) from None
        return ListingPage(keys, keys.brought, len(answer.body), keys.next)


class Keys(NamedTuple):
    """The keys of one page with their sizes in bytes, how many came, and what follows: a key, None for the end, or why that is
    not known."""

    sizes: dict[str, int]
    brought: int
    next: str | None = None
    problem: str | None = None


def page_of(document: Any) -> Keys:
    """Read a page. Raises ValueError for anything else."""
    data = document.get("data") if isinstance(document, dict) else None
    items = data.get("items") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(items, list):
        raise ValueError("not a list of keys")
    try:
        sizes = {str(item["key"]): int(item["size"]) for item in items}
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError("not a list of keys and sizes") from None
    following, is_truncated = data.get("nextExclusiveStartKey", _ABSENT), data.get("isTruncated")
    if isinstance(following, str) and is_truncated is not False:
        return Keys(sizes, len(items), following)
    if following is None and is_truncated is False:
        return Keys(sizes, len(items))
    return Keys(sizes, len(items), problem="a page does not say whether another one follows")


def _disorder(page: ListingPage[Keys, str], fresh: int, start: str) -> str | None:
    """Why a page, `fresh` of whose keys are new, makes the listing doubtful; None if it does not."""
    if fresh < page.entries:
        return "it contains a key twice"
    if page.next is not None and start and page.next.encode() <= start.encode():
        return "a page points back to an earlier page"
    return None
