"""The conformance suite over Apify key-value stores, with plain HTTP as the program that knows nothing of kvsync."""

from __future__ import annotations

from typing import ClassVar

from kvsync.model.entry import Identity
from kvsync.stores.apify import ApifyStore
from kvsync.stores.base import Store
from kvsync.testing import FakeClock
from tests.stores.apify_service import Service, apify_store
from tests.stores.container_conformance import ContainerConformance
from tests.stores.emulated import ContainerService


class ApifyConformance(ContainerConformance):
    capabilities = ApifyStore.capabilities
    ledger: ClassVar[str] = "local"

    def connect(self, service: ContainerService, clock: FakeClock) -> Store:
        assert isinstance(service, Service)
        return apify_store(service, clock, ledger=self.ledger, key_format=self.key_format)


class TestApify(ApifyConformance):
    pass


class TestApifyWithTheLedgerInTheStore(ApifyConformance):
    ledger = "store"


class TestApifyWithLabels(ApifyConformance):
    key_format = "{label}.{key}"
    labels = True

    def _name(self, identity: Identity) -> str:
        return f"{identity.label or ''}.{identity.key}"
