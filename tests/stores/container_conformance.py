"""The conformance suite over emulated stores whose namespaces are containers of their own, with plain HTTP as the program that
knows nothing of kvsync."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import pytest

from kvsync.model.entry import Content, Identity
from kvsync.stores.base import Store
from kvsync.testing import FakeClock, StoreConformance
from tests.stores.emulated import ContainerService, SharedClock


class ContainerConformance(StoreConformance):
    key_format: ClassVar[str | None] = None

    @pytest.fixture(autouse=True)
    def remote(self, running_service: ContainerService, running_other: ContainerService) -> None:
        running_service.reset(*self.namespaces)
        self._service, self._other = running_service, running_other

    @abstractmethod
    def connect(self, service: ContainerService, clock: FakeClock) -> Store:
        """A connection of kvsync's to a service."""

    def make_clock(self) -> FakeClock:
        return SharedClock(self._service)

    async def pass_time(self, clock: FakeClock, seconds: float) -> None:
        clock.advance(seconds)

    def open_store(self, clock: FakeClock) -> Store:
        return self.connect(self._service, clock)

    def other_place(self, clock: FakeClock) -> Store:
        self._other.reset(*self.namespaces)
        self._other.time(clock.now())
        return self.connect(self._other, clock)

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
