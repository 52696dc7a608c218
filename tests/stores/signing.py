"""Marks for the tests of stores: signed for the place that a store says a namespace is."""

from __future__ import annotations

from dataclasses import replace

from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Store, Write

OWNER = "conformance"


def signer(store: Store, namespace: str = "web", keys: tuple[bytes, ...] = ()) -> MarkSigner:
    """What signs and verifies the marks of `OWNER` in a namespace."""
    return MarkSigner(OWNER, store.place(namespace), keys)


def signed(store: Store, write: Write, namespace: str = "web", keys: tuple[bytes, ...] = ()) -> Write:
    """The same write with its mark signed."""
    assert write.mark is not None
    made = MarkSigner(write.mark.owner, store.place(namespace), keys).signed(write.identity, write.mark)
    return replace(write, mark=made)
