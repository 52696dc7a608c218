"""What the tests of the SQLite store share: a way to open it, and a shell that knows nothing of kvsync."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from kvsync.config.model import Credential, StoreConfig
from kvsync.errors import PermanentError
from kvsync.stores.base import Store, StoreContext
from kvsync.stores.registry import open_store
from kvsync.testing import FakeClock
from kvsync.util.clock import Clock

Open = Callable[..., Store]
Shell = Callable[..., list[tuple[object, ...]]]


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
