"""The conformance suite over a real etcd."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from kvsync.model.entry import Content, Identity
from kvsync.stores.base import Store
from kvsync.stores.etcd import EtcdStore
from kvsync.testing import FakeClock, StoreConformance
from tests.stores.etcd_service import LeaseTime, etcd_store
from tests.support.etcd import Member, running_members


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Member, Member]]:
    """Two clusters of one member each."""
    folders: list[Path] = [tmp_path_factory.mktemp(name) for name in ("here", "there")]
    with running_members(folders[0], 1, "--unsafe-no-fsync") as (here,), running_members(folders[1]) as (there,):
        yield here, there


class EtcdConformance(StoreConformance):
    capabilities = EtcdStore.capabilities
    key_format: ClassVar[str | None] = None

    @pytest.fixture(autouse=True)
    def remote(self, members: tuple[Member, Member]) -> None:
        self._here, self._there = members
        for member in members:
            member.clear()
        self._time = LeaseTime(self._here)

    def make_clock(self) -> FakeClock:
        return FakeClock(time.time())

    def open_store(self, clock: FakeClock) -> Store:
        return etcd_store(self._here.url, clock=clock, key_format=self.key_format)

    def other_place(self, clock: FakeClock) -> Store:
        return etcd_store(self._there.url, clock=clock, key_format=self.key_format)

    async def pass_time(self, clock: FakeClock, seconds: float) -> None:
        self._time.advance(clock, seconds)

    async def foreign_write(self, namespace: str, identity: Identity, content: Content) -> None:
        self._here.put(self._key(namespace, identity), content.value)

    async def foreign_delete(self, namespace: str, identity: Identity) -> None:
        self._here.delete(self._key(namespace, identity))

    def _key(self, namespace: str, identity: Identity) -> str:
        return f"{namespace}/{identity.key}"


class TestEtcd(EtcdConformance):
    pass


@pytest.mark.system
class TestEtcdWithLabelsInKeys(EtcdConformance):
    key_format = "app/{namespace}/{label}/{key}"
    labels = True

    def _key(self, namespace: str, identity: Identity) -> str:
        return f"app/{namespace}/{identity.label or ''}/{identity.key}"
