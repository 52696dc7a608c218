"""What the tests of the SQLite store share: a way to open it, and a shell that knows nothing of kvsync."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kvsync.config.model import Credential, StoreConfig
from kvsync.errors import PermanentError
from kvsync.stores.base import Store, StoreContext
from kvsync.stores.registry import open_store
from kvsync.testing import FakeClock
from kvsync.util.clock import Clock
from tests.stores.emulated import Connect, EmulatedService

Open = Callable[..., Store]
Shell = Callable[..., list[tuple[object, ...]]]


@pytest.fixture(scope="module")
def running_service(request: pytest.FixtureRequest) -> Iterator[EmulatedService]:
    """The service of a test file: that whose `Service` it imports."""
    with request.module.Service.serve() as found:
        yield found


@pytest.fixture(scope="module")
def running_other(request: pytest.FixtureRequest) -> Iterator[EmulatedService]:
    """Another account at the same vendor."""
    with request.module.Service.serve() as found:
        yield found


@pytest.fixture
def service(running_service: EmulatedService) -> EmulatedService:
    """The service, as new: it holds nothing but a namespace `web` where there are such."""
    running_service.prepare()
    return running_service


@pytest.fixture
def other_service(running_other: EmulatedService) -> EmulatedService:
    """Another account, as new."""
    running_other.prepare()
    return running_other


@pytest.fixture
async def connect(service: EmulatedService, tmp_path: Path) -> AsyncIterator[Connect]:
    """Opens connections of kvsync's to the service, or to another one, and closes them at the end."""
    stores: list[Store] = []

    def connect(found: EmulatedService = service, *arguments: Any, **options: Any) -> Store:
        stores.append(found.open_store(*arguments, **(found.store_options(tmp_path) | options)))
        return stores[-1]

    yield connect
    for store in stores:
        await store.aclose()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def opened(tmp_path: Path, clock: Clock) -> AsyncIterator[Open]:
    """Opens stores over `store.db` in a folder of this test's own, or another path, and closes them at the end."""
    stores: list[Store] = []

    def opened(path: str | Path = "store.db", *, read_only: bool = False, timeout: float = 0.05) -> Store:
        config = StoreConfig("local", "sqlite", {"path": str(path)}, timeout=timeout)
        store = open_store(config, StoreContext(tmp_path, None, _no_secrets, clock, read_only))
        stores.append(store)
        return store

    yield opened
    for store in stores:
        await store.aclose()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Executes one statement in `store.db`, as a person with the sqlite3 shell would."""

    def execute(statement: str, *parameters: object, setting: str = "") -> list[tuple[object, ...]]:
        connection = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        try:
            connection.execute(setting)
            return connection.execute(statement, parameters).fetchall()
        finally:
            connection.close()

    return execute


def _no_secrets(credential: Credential) -> str:
    raise PermanentError(f"there is no {credential.name} here")
