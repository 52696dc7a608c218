"""A store's own view of every byte, held against what is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kvsync.model.entry import Identity
from kvsync.model.pass_options import PassOptions
from kvsync.model.snapshot import Snapshot
from kvsync.planning.marks import MarkSigner
from tests.support.memory_repository import MemoryRepository, is_clean, rows
from tests.support.stores import BucketStore

KEYS = {"a": "1", "b": "2", "c": "3"}


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch, "memory-bucket")


def _forget(patch: pytest.MonkeyPatch, key: str) -> None:
    """Let the deep view lack this entry from now on."""
    whole = BucketStore.observe_deep

    async def observe_deep(store: BucketStore, namespace: str, signer: MarkSigner) -> Snapshot | None:
        snapshot = await whole(store, namespace, signer)
        assert snapshot is not None
        kept = {name: actual for name, actual in snapshot.entries.items() if name != Identity(key)}
        return replace(snapshot, entries=kept)

    patch.setattr(BucketStore, "observe_deep", observe_deep)


async def test_a_deep_view_that_lacks_an_entry_is_not_believed(
    repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry of ours that the deep view lacks and a listing shows is not lost: everything is read one by one instead."""
    await repo.settle(KEYS)
    _forget(monkeypatch, "b")
    for _ in range(2):
        assert rows(await repo.plan(PassOptions(deep=True), writing="test")) == []
    repo.edit("a", "0")
    repo.want({"a": "1", "c": "3"})
    assert rows(await repo.plan(PassOptions(deep=True))) == [("update", "drifted", "a"), ("delete", "removed", "b")]


async def test_an_entry_that_both_views_lack_is_missing(repo: MemoryRepository) -> None:
    """An entry of ours that is neither in the deep view nor in a listing was deleted by someone, and is healed."""
    await repo.settle(KEYS)
    repo.server.delete("web", "b")
    repo.server.calls.clear()
    assert rows(await repo.plan(PassOptions(deep=True))) == [("create", "missing", "b")]
    assert [call.method for call in repo.server.calls] == ["listing", "listing"]
    assert is_clean(await repo.apply(PassOptions(deep=True)))
