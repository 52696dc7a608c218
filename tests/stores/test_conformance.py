"""The conformance suite over the stores of this package, the memory store in the shape of each kind of remote."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kvsync.config.model import StoreConfig
from kvsync.errors import PermanentError
from kvsync.model.capabilities import Lifetimes, Marks, SizeUnit
from kvsync.model.entry import Content, Identity
from kvsync.stores.base import Store, StoreContext
from kvsync.stores.memory.store import MemoryStore
from kvsync.stores.registry import open_store
from kvsync.stores.sqlite.store import SqliteStore
from kvsync.testing import FakeClock, MemoryServer, StoreConformance, memory_store


class MemoryConformance(StoreConformance):
    """The suite over a memory with `shape` in place of some of its capabilities."""

    shape: ClassVar[dict[str, Any]]
    key_format: ClassVar[str | None] = None
    lists_sizes: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        cls.capabilities = replace(MemoryStore.capabilities, **cls.shape)
        super().__init_subclass__(**options)

    @pytest.fixture(autouse=True)
    def server(self) -> None:
        self._server = MemoryServer()

    def open_store(self, clock: FakeClock) -> Store:
        self._server.clock = clock
        return self._connect(self._server, clock)

    def other_place(self, clock: FakeClock) -> Store:
        return self._connect(MemoryServer(clock), clock)

    def _connect(self, server: MemoryServer, clock: FakeClock) -> Store:
        return memory_store(
            server,
            clock=clock,
            key_format=self.key_format,
            keeps_ledger=self.keeps_ledger,
            lists_sizes=self.lists_sizes,
            **self.shape,
        )

    async def foreign_write(self, namespace: str, identity: Identity, content: Content) -> None:
        self._server.write(namespace, identity.key, content, label=identity.label)

    async def foreign_delete(self, namespace: str, identity: Identity) -> None:
        self._server.delete(namespace, identity.key, label=identity.label)

    def lose_next_answer(self) -> None:
        self._server.lose_answers()

    def refuse(self, identity: Identity) -> None:
        self._server.refuse_batches_with(identity.key)

    def break_next_listing(self) -> None:
        self._server.list_incompletely()


class TestMemory(MemoryConformance):
    shape: ClassVar = {}

    def refuse(self, identity: Identity) -> None:
        self._server.fail_entry(identity.key)


class TestLikeAzure(MemoryConformance):
    shape: ClassVar = {
        "batch": 1,
        "read_batch": 1,
        "page": 100,
        "lifetimes": Lifetimes.EMULATED,
        "max_key": 256,
        "key_unit": SizeUnit.CHARACTERS,
        "key_pattern": r"[^%\x00-\x1f]+",
        "binary": False,
        "metadata": False,
    }


class TestLikeCloudflare(MemoryConformance):
    shape: ClassVar = {
        "compare_and_set": False,
        "labels": False,
        "content_type": False,
        "tags": False,
        "values_in_listing": False,
        "min_ttl": 60,
        "max_key": 512,
        "max_metadata": 1024,
        "settle": 60,
    }
    key_format = "{label}/{key}"
    labels = True

    async def foreign_write(self, namespace: str, identity: Identity, content: Content) -> None:
        self._server.write(namespace, f"{identity.label or ''}/{identity.key}", content)

    async def foreign_delete(self, namespace: str, identity: Identity) -> None:
        self._server.delete(namespace, f"{identity.label or ''}/{identity.key}")

    def refuse(self, identity: Identity) -> None:
        self._server.refuse_batches_with(f"/{identity.key}")


class TestLikeApify(MemoryConformance):
    lists_sizes = True
    shape: ClassVar = {
        "compare_and_set": False,
        "labels": False,
        "tags": False,
        "metadata": False,
        "marks": Marks.LEDGER,
        "lifetimes": Lifetimes.EMULATED,
        "values_in_listing": False,
        "batch": 1,
        "max_key": 256,
        "key_pattern": r"[a-zA-Z0-9!\-_.'()]+",
    }


class TestLikeApifyWithLedger(TestLikeApify):
    keeps_ledger = True


class TestWithoutAnythingInTheListing(TestLikeApify):
    lists_sizes = False


class TestLikeVoximplant(MemoryConformance):
    shape: ClassVar = {
        "compare_and_set": False,
        "labels": False,
        "content_type": False,
        "tags": False,
        "metadata": False,
        "binary": False,
        "marks": Marks.LEDGER,
        "always_expires": True,
        "max_ttl": 7_776_000,
        "batch": 1,
        "page": 50,
        "max_key": 200,
        "key_unit": SizeUnit.CHARACTERS,
        "key_pattern": r"[a-zA-Z0-9а-яА-ЯёЁ_\-:;.#+]+",
        "max_value": 2000,
    }


class TestLikeVoximplantWithLedger(TestLikeVoximplant):
    keeps_ledger = True


class TestLikeEtcd(MemoryConformance):
    shape: ClassVar = {
        "labels": False,
        "content_type": False,
        "tags": False,
        "metadata": False,
        "batch": 128,
        "page": 500,
        "max_value": 1_500_000,
    }


class SqliteConformance(StoreConformance):
    """The suite over a database file, with a second program that has no idea of kvsync."""

    capabilities = SqliteStore.capabilities
    key_format: ClassVar[str | None] = None

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self._root = tmp_path

    def open_store(self, clock: FakeClock) -> Store:
        return self._in(self._root, clock)

    def other_place(self, clock: FakeClock) -> Store:
        (self._root / "other").mkdir()
        return self._in(self._root / "other", clock)

    def _in(self, root: Path, clock: FakeClock) -> Store:
        config = StoreConfig("local", "sqlite", {"path": "store.db"}, key_format=self.key_format)
        return open_store(config, StoreContext(root, None, _no_secrets, clock))

    async def foreign_write(self, namespace: str, identity: Identity, content: Content) -> None:
        where = (namespace, self._column(identity), identity.label)
        with closing(sqlite3.connect(await self._database(), isolation_level=None)) as shell:
            changed = shell.execute(
                "UPDATE entries SET value = ?, content_type = NULL WHERE namespace = ? AND key = ? AND label IS ?",
                (content.value, *where),
            )
            if not changed.rowcount:
                shell.execute(
                    "INSERT INTO entries(namespace, key, label, value) VALUES (?, ?, ?, ?)", (*where, content.value)
                )

    async def foreign_delete(self, namespace: str, identity: Identity) -> None:
        with closing(sqlite3.connect(await self._database(), isolation_level=None)) as shell:
            shell.execute("DELETE FROM entries WHERE namespace = ? AND key = ?", (namespace, self._column(identity)))

    def _column(self, identity: Identity) -> str:
        return identity.key

    async def _database(self) -> Path:
        """The file, which a store has made."""
        store = self.open_store(FakeClock())
        await store.namespaces()
        await store.aclose()
        return self._root / "store.db"


class TestSqlite(SqliteConformance):
    pass


class TestSqliteWithKeyFormat(SqliteConformance):
    key_format = "{namespace}:{label}/{key}"

    def _column(self, identity: Identity) -> str:
        return f"web:{identity.label or ''}/{identity.key}"


def _no_secrets(credential: object) -> str:
    raise PermanentError("there are no secrets here")
