"""The conformance suite over Apify key-value stores, with plain HTTP as the program that knows nothing of kvsync."""

from __future__ import annotations

import time
from typing import ClassVar

import pytest

from kvsync.model.entry import Content, Identity
from kvsync.stores.apify import ApifyStore
from kvsync.stores.base import Store
from kvsync.testing import FakeClock, StoreConformance
from tests.stores.apify_service import Service, apify_store


class ApifyConformance(StoreConformance):
    capabilities = ApifyStore.capabilities
    key_format: ClassVar[str | None] = None
    ledger: ClassVar[str] = "local"

    @pytest.fixture(autouse=True)
    def remote(self, running_service: Service, running_other: Service) -> None:
        running_service.reset(*self.namespaces)
        self._service, self._other = running_service, running_other

    def make_clock(self) -> FakeClock:
        clock = FakeClock(float(int(time.time())))
        self._service.time(clock.now())
        return clock

    async def pass_time(self, clock: FakeClock, seconds: float) -> None:
        clock.advance(seconds)
        self._service.time(clock.now())

    def open_store(self, clock: FakeClock) -> Store:
        return apify_store(self._service, clock, ledger=self.ledger, key_format=self.key_format)

    def other_place(self, clock: FakeClock) -> Store:
        self._other.reset(*self.namespaces)
        self._other.time(clock.now())
        return apify_store(self._other, clock, ledger=self.ledger, key_format=self.key_format)

    async def rename_namespace(self, old: str, new: str) -> None:
        self._service.rename(old, new)

    async def foreign_write(self, namespace: str, identity: Identity, content: Content) -> None:
        self._service.put(namespace, self._name(identity), content.value)

    async def foreign_delete(self, namespace: str, identity: Identity) -> None:
        self._service.delete(namespace, self._name(identity))

    def lose_next_answer(self) -> None:
        self._service.faults("drop-after-write:1", times=1, methods=["PUT"])

    def refuse(self, identity: Identity) -> None:
        self._service.faults("400:1", methods=["PUT"])

    def _name(self, identity: Identity) -> str:
        return identity.key


class TestApify(ApifyConformance):
    pass


class TestApifyWithTheLedgerInTheStore(ApifyConformance):
    ledger = "store"


class TestApifyWithLabels(ApifyConformance):
    key_format = "{label}.{key}"
    labels = True

    def _name(self, identity: Identity) -> str:
        return f"{identity.label or ''}.{identity.key}"
