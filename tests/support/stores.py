"""Memory stores with the limits of every kind of remote that kvsync is made for, each as a store type of its own."""

from __future__ import annotations

from dataclasses import replace

from kvsync.model.capabilities import Lifetimes, Marks
from kvsync.stores.memory.store import MemoryStore

_FULL = MemoryStore.capabilities


class LedgerStore(MemoryStore):
    """Has versions, and no room for marks."""

    capabilities = replace(_FULL, type="memory-ledger", marks=Marks.LEDGER)


class PrefixStore(MemoryStore):
    """One key a call, versions, no lifetimes of its own: like Azure App Configuration."""

    capabilities = replace(
        _FULL, type="memory-prefix", metadata=False, lifetimes=Lifetimes.EMULATED, batch=1, read_batch=1, concurrency=4
    )


class EdgeStore(MemoryStore):
    """No versions, a listing that carries fingerprints and may be late: like Cloudflare KV."""

    capabilities = replace(
        _FULL,
        type="memory-edge",
        compare_and_set=False,
        labels=False,
        tags=False,
        content_type=False,
        min_ttl=60,
        batch=100,
        values_in_listing=False,
        settle=60,
    )


class BucketStore(MemoryStore):
    """No versions, no marks, no lifetimes, a listing of sizes: like Apify."""

    lists_sizes = True
    capabilities = replace(
        _FULL,
        type="memory-bucket",
        marks=Marks.LEDGER,
        compare_and_set=False,
        labels=False,
        tags=False,
        metadata=False,
        lifetimes=Lifetimes.EMULATED,
        batch=1,
        read_batch=50,
        values_in_listing=False,
    )


class ExpiringStore(MemoryStore):
    """Everything expires, nothing else is there: like Voximplant."""

    capabilities = replace(
        _FULL,
        type="memory-mortal",
        marks=Marks.LEDGER,
        compare_and_set=False,
        labels=False,
        content_type=False,
        tags=False,
        metadata=False,
        binary=False,
        max_ttl=7_776_000,
        always_expires=True,
        batch=1,
        read_batch=1,
    )


class PlainBucketStore(BucketStore):
    """The same with a listing that tells nothing at all of what it lists."""

    lists_sizes = False
    capabilities = replace(BucketStore.capabilities, type="memory-plain-bucket")


class SharedBucketStore(BucketStore):
    """A bucket that keeps the ledger itself."""

    keeps_ledger = True
    capabilities = replace(BucketStore.capabilities, type="memory-shared-bucket")


class SharedExpiringStore(ExpiringStore):
    """Everything expires, the ledger that it keeps itself included."""

    keeps_ledger = True
    capabilities = replace(ExpiringStore.capabilities, type="memory-shared-mortal")


class NarrowStore(MemoryStore):
    """Everything, in small batches: many calls for few entries."""

    capabilities = replace(_FULL, type="memory-narrow", batch=3)


KINDS: dict[str, type[MemoryStore]] = {
    store.capabilities.type: store
    for store in (
        MemoryStore,
        LedgerStore,
        PrefixStore,
        EdgeStore,
        BucketStore,
        PlainBucketStore,
        SharedBucketStore,
        ExpiringStore,
        SharedExpiringStore,
        NarrowStore,
    )
}
"""All of them, by type."""

PLACES = {kind: f"{store.__module__}:{store.__qualname__}" for kind, store in KINDS.items()}
"""Lines for `kvsync.stores.BUILTIN`."""
