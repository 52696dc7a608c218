"""The conformance suite over App Configuration, with the vendor's SDK as the program that knows nothing of kvsync."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

import pytest

from kvsync.model.entry import Content, Identity
from kvsync.stores.azure_appconfig import AzureAppConfigStore
from kvsync.stores.base import Store
from kvsync.testing import FakeClock, StoreConformance
from tests.stores.azure_service import Service, azure_store


class AzureConformance(StoreConformance):
    capabilities = AzureAppConfigStore.capabilities
    key_format: ClassVar[str | None] = None

    @pytest.fixture(autouse=True)
    def remote(self, running_service: Service, running_other: Service, tmp_path: Path) -> None:
        running_service.reset()
        self._service, self._other, self._folder = running_service, running_other, tmp_path
        self._stores = 0

    def make_clock(self) -> FakeClock:
        return FakeClock(time.time())

    def open_store(self, clock: FakeClock) -> Store:
        return self._connect(self._service, clock)

    def other_place(self, clock: FakeClock) -> Store:
        self._other.reset()
        return self._connect(self._other, clock)

    def _connect(self, found: Service, clock: FakeClock) -> Store:
        self._stores += 1
        cache = self._folder / str(self._stores)
        return azure_store(found.env, clock, cache=cache, key_format=self.key_format)

    async def foreign_write(self, namespace: str, identity: Identity, content: Content) -> None:
        key, label = self._slot(namespace, identity)
        self._service.set(key, content.value.decode(), label, content_type=content.content_type)

    async def foreign_delete(self, namespace: str, identity: Identity) -> None:
        key, label = self._slot(namespace, identity)
        self._service.sdk.delete_configuration_setting(key, label=label)

    def lose_next_answer(self) -> None:
        self._service.faults("drop-after-write:1", times=1, methods=["PUT"])

    def refuse(self, identity: Identity) -> None:
        self._service.faults("422:1", methods=["PUT"])

    def _slot(self, namespace: str, identity: Identity) -> tuple[str, str | None]:
        return f"{namespace}:{identity.key}", identity.label


class TestAzure(AzureConformance):
    pass


class TestAzureWithLabelsInKeys(AzureConformance):
    key_format = "app/{namespace}/{label}/{key}"

    def _slot(self, namespace: str, identity: Identity) -> tuple[str, str | None]:
        return f"app/{namespace}/{identity.label or ''}/{identity.key}", None
