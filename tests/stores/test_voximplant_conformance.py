"""The conformance suite over Voximplant's storage, with plain HTTP as the program that knows nothing of kvsync."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any, ClassVar

import pytest

from kvsync.model.entry import Content, Identity
from kvsync.stores.base import Store
from kvsync.stores.ledger_place import LedgerPlace
from kvsync.stores.voximplant import VoximplantStore
from kvsync.testing import FakeClock, StoreConformance
from tests.stores.emulated import SharedClock
from tests.stores.voximplant_service import Service, voximplant_store

WAYS: dict[str, dict[str, str]] = {
    "usual": {},
    "otherwise": {
        "match": "strict",
        "order": "key",
        "missing": "absent",
        "delete-missing": "0",
        "set-answer": "new",
        "error-status": "matching",
        "ttl-limit": "error",
        "count-limit": "error",
        "ttl-zero": "error",
    },
    "yet otherwise": {
        "match": "namespace",
        "order": "written",
        "missing": "null",
        "delete-missing": "1",
        "renew-equal": "off",
    },
    "other account": {},
}
"""Answers to what the API's reference leaves open."""


@pytest.fixture(scope="module")
def services() -> Iterator[Callable[[str], Service]]:
    """Gives the service that answers in one of these ways."""
    with ExitStack() as stack:
        yield cache(lambda way: stack.enter_context(Service.serve(switches=WAYS[way])))


class VoximplantConformance(StoreConformance):
    capabilities = VoximplantStore.capabilities
    way: ClassVar[str]
    key_format: ClassVar[str | None] = None
    store_options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def remote(self, services: Callable[[str], Service]) -> None:
        self._services, self._service = services, services(self.way)
        self._service.reset()

    def make_clock(self) -> FakeClock:
        return SharedClock(self._service)

    async def pass_time(self, clock: FakeClock, seconds: float) -> None:
        clock.advance(seconds)

    def open_store(self, clock: FakeClock) -> Store:
        return self._connect(self._service, clock)

    def other_place(self, clock: FakeClock) -> Store:
        other = self._services("other account")
        other.reset()
        other.time(clock.now())
        return self._connect(other, clock)

    def _connect(self, found: Service, clock: FakeClock) -> Store:
        return voximplant_store(found, clock, options=self.store_options, key_format=self.key_format)

    async def foreign_write(self, namespace: str, identity: Identity, content: Content) -> None:
        self._service.put(self._name(namespace, identity), content.value.decode())

    async def foreign_delete(self, namespace: str, identity: Identity) -> None:
        self._service.delete(self._name(namespace, identity))

    def lose_next_answer(self) -> None:
        self._service.faults("drop-after-write:1", times=1)

    def refuse(self, identity: Identity) -> None:
        self._service.faults("497:1", times=1)

    def _name(self, namespace: str, identity: Identity) -> str:
        return f"{namespace}:{identity.key}"


class TestVoximplant(VoximplantConformance):
    way = "usual"


class TestVoximplantElsewhere(VoximplantConformance):
    way = "otherwise"


class TestVoximplantWithLabels(VoximplantConformance):
    way = "yet otherwise"
    key_format = "{namespace}:{label}:{key}"
    labels = True

    def _name(self, namespace: str, identity: Identity) -> str:
        return f"{namespace}:{identity.label or ''}:{identity.key}"


class TestVoximplantByName(VoximplantConformance):
    way = "usual"
    store_options: ClassVar = {"application": "first"}
    refuse = StoreConformance.refuse  # the emulator would refuse to look up the name instead


class TestVoximplantWithLedger(VoximplantConformance):
    way = "otherwise"
    keeps_ledger = True
    store_options: ClassVar = {"ledger": LedgerPlace.STORE}
