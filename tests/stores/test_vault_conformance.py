"""The conformance suite over a real OpenBao."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvsync.model.entry import Content, Identity
from kvsync.stores.base import Store
from kvsync.stores.vault_kv import VaultKvStore
from kvsync.stores.vault_kv.secrets import to_data
from kvsync.testing import FakeClock, StoreConformance
from tests.stores.vault_service import expire, vault_store
from tests.support.openbao import Bao, running_bao


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bao, Bao]]:
    """Two servers."""
    folders: list[Path] = [tmp_path_factory.mktemp(name) for name in ("here", "there")]
    with running_bao(folders[0]) as here, running_bao(folders[1]) as there:
        yield here, there


class VaultConformance(StoreConformance):
    capabilities = VaultKvStore.capabilities

    @pytest.fixture(autouse=True)
    def remote(self, servers: tuple[Bao, Bao]) -> None:
        self._here, self._there = servers
        for server in servers:
            server.clear()

    def make_clock(self) -> FakeClock:
        return FakeClock(time.time())

    def open_store(self, clock: FakeClock) -> Store:
        return vault_store(self._here.url, clock=clock)

    def other_place(self, clock: FakeClock) -> Store:
        return vault_store(self._there.url, clock=clock)

    async def pass_time(self, clock: FakeClock, seconds: float) -> None:
        clock.advance(seconds)
        expire(self._here, clock.now())

    async def foreign_write(self, namespace: str, identity: Identity, content: Content) -> None:
        self._here.put(f"{namespace}/{identity.key}", to_data(content))

    async def foreign_delete(self, namespace: str, identity: Identity) -> None:
        self._here.delete(f"{namespace}/{identity.key}")


class TestVault(VaultConformance):
    pass


@pytest.mark.system
class TestVaultRemovedCompletely(VaultConformance):
    """Other programs remove secrets with all their versions, so that numbers begin again."""

    async def foreign_delete(self, namespace: str, identity: Identity) -> None:
        self._here.remove(f"{namespace}/{identity.key}")


@pytest.mark.system
class TestVaultWithoutTrees(VaultConformance):
    """Vault of HashiCorp, which cannot list metadata recursively."""

    def open_store(self, clock: FakeClock) -> Store:
        store = super().open_store(clock)
        store._client()._has_trees = False  # type: ignore[attr-defined]
        return store
