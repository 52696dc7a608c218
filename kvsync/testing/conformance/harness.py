"""Fixture of a conformance test: a store, its clock, and shortcuts to write and read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from kvsync.model.canonical import fingerprint
from kvsync.model.capabilities import Capabilities
from kvsync.model.entry import Actual, Content, Entry, Identity, Mark
from kvsync.model.snapshot import Snapshot
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Precondition, Store, Write, WriteResult, WriteStatus
from kvsync.testing.clock import FakeClock

OWNER = "conformance"
"""Owner of all entries that the suite writes."""

TEXT = Content(b"Hello")


class StoreHarness:
    """The store under test, with two namespaces: `namespace`, in which the test works, and `elsewhere`."""

    def __init__(
        self,
        open_store: Callable[[], Store],
        clock: FakeClock,
        pass_time: Callable[[float], Awaitable[None]],
        namespaces: tuple[str, str],
    ) -> None:
        self._open, self.clock, self.pass_time = open_store, clock, pass_time
        self.namespace, self.elsewhere = namespaces
        self._stores: list[Store] = []
        self.store = self.connect()

    @property
    def capabilities(self) -> Capabilities:
        """Capabilities of the store."""
        return self.store.capabilities

    def connect(self) -> Store:
        """Open another connection to the same remote."""
        return self.keep(self._open())

    def keep(self, store: Store) -> Store:
        """Close a store at the end of the test, too. Returns the store."""
        self._stores.append(store)
        return store

    async def aclose(self) -> None:
        """Close all connections twice, because that must be harmless."""
        for store in (*self._stores, *self._stores):
            await store.aclose()

    def can_hold(self, identity: Identity, content: Content = TEXT) -> bool:
        """True if the store accepts such an entry."""
        try:
            self.store.remote_key(self.namespace, identity)
        except ValueError:
            return False
        content = self.store.normalise(content)
        return not self.store.audit(self.namespace, Entry(identity, content, fingerprint(content)))

    def creation(self, identity: Identity | str, content: Content = TEXT, **mark: Any) -> Write:
        """Return a write that creates an entry. `mark` may hold namespace, expires_at, owner, ttl, sensitive and protected."""
        return self._write(identity, Precondition.ABSENT, content, None, mark)

    def change(self, actual: Actual, content: Content, **mark: Any) -> Write:
        """Return a write that replaces an entry as it was read."""
        return self._write(actual.identity, Precondition.UNCHANGED, content, actual.etag, mark)

    def deletion(self, actual: Actual) -> Write:
        """Return a write that deletes an entry as it was read."""
        return Write(actual.identity, Precondition.UNCHANGED, etag=actual.etag)

    async def send(self, writes: Sequence[Write], namespace: str | None = None) -> list[WriteResult]:
        """Send writes in batches as large as the store accepts, and let them settle."""
        results: list[WriteResult] = []
        size = self.capabilities.batch
        for start in range(0, len(writes), size):
            results += await self.store.write(namespace or self.namespace, writes[start : start + size])
        await self.settle()
        return results

    async def must(self, *writes: Write, namespace: str | None = None) -> list[WriteResult]:
        """Send writes that must all succeed."""
        results = await self.send(writes, namespace)
        assert [result.status for result in results] == [WriteStatus.DONE] * len(writes), results
        return results

    async def create(self, identity: Identity | str, content: Content = TEXT, **mark: Any) -> Actual:
        """Create an entry, and return it as the store has it."""
        namespace = mark.get("namespace")
        write = self.creation(identity, content, **mark)
        await self.must(write, namespace=namespace)
        return await self.get(write.identity, namespace)

    async def find(self, identity: Identity | str, namespace: str | None = None) -> Actual | None:
        """Read one entry with its content; None if it does not exist."""
        wanted = _identity(identity)
        return (await self.store.read(namespace or self.namespace, [wanted])).get(wanted)

    async def get(self, identity: Identity | str, namespace: str | None = None) -> Actual:
        """Read one entry, which must exist."""
        found = await self.find(identity, namespace)
        assert found is not None, f"{identity} does not exist"
        return found

    async def value(self, identity: Identity | str, namespace: str | None = None) -> bytes:
        """Read the value of an entry, which must exist."""
        content = (await self.get(identity, namespace)).content
        assert content is not None, f"{identity} was read without its content"
        return content.value

    async def see(self, namespace: str | None = None) -> Snapshot:
        """Observe everything in a namespace."""
        snapshot = await self.store.observe(namespace or self.namespace, self.signer(namespace))
        assert snapshot is not None, "observe without a token must return a snapshot"
        return snapshot

    def signer(self, namespace: str | None = None, owner: str = OWNER) -> MarkSigner:
        """Return the signer of the marks of an owner in a namespace."""
        return MarkSigner(owner, self.store.place(namespace or self.namespace))

    async def listed(self, identity: Identity) -> Actual:
        """Observe one entry, which must be listed."""
        entry = (await self.see()).entries.get(identity)
        assert entry is not None, f"{identity} is not listed"
        return entry

    async def settle(self) -> None:
        """Let time pass until listings show what was written."""
        if self.capabilities.settle:
            await self.pass_time(self.capabilities.settle)

    async def gather_or_cancel(self, *calls: Awaitable[Sequence[WriteResult]]) -> list[WriteStatus]:
        """Await concurrent calls of one write each, and return their statuses."""
        return [results[0].status for results in await asyncio.gather(*calls)]

    def _write(
        self,
        identity: Identity | str,
        precondition: Precondition,
        content: Content,
        etag: str | None,
        mark: dict[str, Any],
    ) -> Write:
        held = self.store.normalise(content)
        expires_at, owner = mark.pop("expires_at", None), mark.pop("owner", OWNER)
        namespace = mark.pop("namespace", None)
        if expires_at is None and self.capabilities.always_expires:
            expires_at = self.clock.now() + (self.capabilities.max_ttl or 0)
        name = _identity(identity)
        ours = self.signer(namespace, owner).signed(name, Mark(owner, fingerprint(held), **mark))
        return Write(name, precondition, held, ours, expires_at, etag)


def _identity(identity: Identity | str) -> Identity:
    return Identity(identity) if isinstance(identity, str) else identity
