"""Store wrapper that records a span per call."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import cast

from kvsync.model.entry import Actual, Identity
from kvsync.model.place import Place
from kvsync.model.snapshot import Snapshot
from kvsync.planning.marks import MarkSigner
from kvsync.stores import extensions
from kvsync.stores.base import Store, Write, WriteResult
from kvsync.stores.extensions import LedgerKeeping
from kvsync.stores.wrapper import StoreWrapper
from kvsync.tracing import span


class TracedStore(StoreWrapper):
    """Passes all calls to the wrapped store, with a span around each."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self._names = {"store": inner.config.name, "type": inner.config.type}

    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        """Call the wrapped store."""
        with span("store.locate", **self._names, namespace=namespace):
            return await extensions.locate(self._inner, namespace, writing=writing)

    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        """Call the wrapped store."""
        with span("store.observe", **self._names, namespace=namespace):
            return await self._inner.observe(namespace, signer, token)

    async def unchanged(self, tokens: Mapping[str, str]) -> Mapping[str, Place]:
        """Call the wrapped store."""
        with span("store.unchanged", **self._names, namespaces=len(tokens)):
            return await extensions.unchanged(self._inner, tokens)

    async def observe_deep(self, namespace: str, signer: MarkSigner) -> Snapshot | None:
        """Call the wrapped store."""
        with span("store.observe_deep", **self._names, namespace=namespace):
            return await extensions.observe_deep(self._inner, namespace, signer)

    async def scan(
        self, namespace: str, signer: MarkSigner, absent: Collection[Identity], present: Collection[Identity]
    ) -> Mapping[Identity, Actual] | None:
        """Call the wrapped store."""
        with span("store.scan", **self._names, namespace=namespace, entries=len(absent) + len(present)):
            return await extensions.scan(self._inner, namespace, signer, absent, present)

    async def read(self, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        """Call the wrapped store."""
        with span("store.read", **self._names, namespace=namespace, entries=len(identities)):
            return await self._inner.read(namespace, identities)

    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Call the wrapped store."""
        with span("store.write", **self._names, namespace=namespace, entries=len(writes)) as note:
            results = await self._inner.write(namespace, writes)
            note(done=sum(result.status == "done" for result in results))
            return results

    async def read_ledger(self, namespace: str) -> bytes | None:
        """Call the wrapped store."""
        with span("store.read_ledger", **self._names, namespace=namespace):
            return await self._keeper.read_ledger(namespace)

    async def write_ledger(self, namespace: str, ledger: bytes) -> None:
        """Call the wrapped store."""
        with span("store.write_ledger", **self._names, namespace=namespace):
            await self._keeper.write_ledger(namespace, ledger)

    async def remove_ledger(self, namespace: str) -> None:
        """Call the wrapped store."""
        with span("store.remove_ledger", **self._names, namespace=namespace):
            await self._keeper.remove_ledger(namespace)

    @property
    def _keeper(self) -> LedgerKeeping:
        """The wrapped store. Called only if it keeps the ledger."""
        return cast("LedgerKeeping", self._inner)
