"""The two ways to read a whole store: its listing, and a ZIP of all records. Both leave out the ledger."""

from __future__ import annotations

import asyncio
import re
from hashlib import blake2b
from typing import NamedTuple, cast

from kvsync.errors import StoreError
from kvsync.stores.apify.archive import Download, UnreliableArchiveError, open_archive
from kvsync.stores.apify.listing import Listing
from kvsync.stores.apify.namespaces import KeyValueStore
from kvsync.stores.apify.records import read
from kvsync.stores.apify.remote import Remote
from kvsync.stores.apify.requests import KEY, LEDGER_KEY
from kvsync.stores.apify.versions import archived, hasher, listed
from kvsync.util.concurrency import gather_or_cancel


class View(NamedTuple):
    """What was seen: sizes in bytes and etags by key, the ledger where the store keeps it, and why this may not be all."""

    sizes: dict[str, int]
    etags: dict[str, str]
    ledger: bytes | None = None
    problem: str | None = None

    def token(self) -> str | None:
        """What represents all that a listing tells, and for the ledger next to it; None where something may be missing."""
        if self.problem is not None:
            return None
        digest = blake2b(self.ledger or b"", digest_size=16)
        digest.update("\n".join(f"{key} {size}" for key, size in sorted(self.sizes.items())).encode())
        return digest.hexdigest()


class SnapshotReader:
    """Looks at one store. `prefix` is what the keys in view begin with; `keeps_ledger` says that the ledger is there too."""

    def __init__(
        self, remote: Remote, namespace: str, store: KeyValueStore, prefix: str, *, keeps_ledger: bool
    ) -> None:
        self._remote, self._namespace, self._store = remote, namespace, store
        self._prefix, self._keeps_ledger = prefix, keeps_ledger

    async def listed(self) -> View:
        """All keys, and at the same time the ledger. Raises StoreError."""
        pages = self._remote.list(self._namespace, self._store, self._prefix)
        found, ledger = await gather_or_cancel([pages, self.ledger()])
        listing = cast(Listing, found)
        listing.sizes.pop(LEDGER_KEY, None)
        etags = {key: listed(size) for key, size in listing.sizes.items()}
        return View(listing.sizes, etags, cast("bytes | None", ledger), listing.problem)

    async def archived(self) -> View | None:
        """All records, by one request; None when they cannot be had so, or are in doubt."""
        download = Download()
        try:
            await self._remote.download(self._namespace, self._store, self._prefix, download)
            found = await asyncio.to_thread(
                open_archive, download.file, download.size, re.compile(KEY), LEDGER_KEY, hasher
            )
            ledger = await self.ledger() if self._prefix else found.ledger
        except (UnreliableArchiveError, StoreError):
            return None
        finally:
            download.close()
        sizes = {key: size for key, (size, _) in found.digests.items()}
        etags = {key: archived(digest) for key, (_, digest) in found.digests.items()}
        return View(sizes, etags, ledger if self._keeps_ledger else None)

    async def ledger(self) -> bytes | None:
        """The ledger, None where the store keeps none or has none yet. Raises StoreError."""
        if not self._keeps_ledger:
            return None
        held = await read(self._remote, self._namespace, self._store, LEDGER_KEY)
        return None if held is None else held.content.value
