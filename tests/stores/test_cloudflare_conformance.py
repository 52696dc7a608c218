"""The conformance suite over Workers KV, with plain HTTP as the program that knows nothing of kvsync."""

from __future__ import annotations

from kvsync.model.entry import Identity
from kvsync.stores.base import Store
from kvsync.stores.cloudflare_kv import CloudflareKvStore
from kvsync.testing import FakeClock
from tests.stores.cloudflare_service import Service, cloudflare_store
from tests.stores.container_conformance import ContainerConformance
from tests.stores.emulated import ContainerService


class CloudflareConformance(ContainerConformance):
    capabilities = CloudflareKvStore.capabilities

    def connect(self, service: ContainerService, clock: FakeClock) -> Store:
        assert isinstance(service, Service)
        return cloudflare_store(service, clock, key_format=self.key_format)


class TestCloudflare(CloudflareConformance):
    pass


class TestCloudflareWithLabels(CloudflareConformance):
    key_format = "{label}/{key}"
    labels = True

    def _name(self, identity: Identity) -> str:
        return f"{identity.label or ''}/{identity.key}"
