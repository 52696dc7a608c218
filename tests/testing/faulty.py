"""Stores that break one promise each, and the conformance suite over them."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from kvsync.model.capabilities import Capabilities
from kvsync.model.entry import Content, Identity
from kvsync.stores.base import Store
from kvsync.stores.memory.store import MemoryStore
from kvsync.stores.wrapper import StoreWrapper
from kvsync.testing import FakeClock, MemoryServer, StoreConformance, memory_store


class Faulty(StoreWrapper):
    """Passes everything on; its subclasses each break one promise."""


def suite_over(wrap: type[Faulty]) -> type[StoreConformance]:
    """The suite over a memory behind such a wrapper."""

    class Suite(StoreConformance):
        capabilities: ClassVar[Capabilities] = replace(MemoryStore.capabilities, page=20)

        def open_store(self, clock: FakeClock) -> Store:
            self.server = getattr(self, "server", MemoryServer(clock))
            return wrap(memory_store(self.server, clock=clock, page=20))

        async def foreign_write(self, namespace: str, identity: Identity, content: Content) -> None:
            self.server.write(namespace, identity.key, content, label=identity.label)

        def other_place(self, clock: FakeClock) -> Store:
            return wrap(memory_store(MemoryServer(clock), clock=clock, page=20))

    return Suite


def failures(suite: type[StoreConformance], only: str | None = None) -> set[str]:
    """The tests that fail, of all or of `only` one; each is run as pytest runs it, on an instance of its own."""
    failed = set()
    names = [name for name in dir(suite) if name.startswith("test_") and callable(getattr(suite, name))]
    for name in names if only is None else [only]:
        try:
            getattr(suite(), name)()
        except AssertionError:
            failed.add(name)
    return failed
