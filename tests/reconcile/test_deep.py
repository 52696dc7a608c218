"""A store's own view of every byte, held against what is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kvsync.model.entry import Identity, Snapshot
from kvsync.model.pass_options import PassOptions
from kvsync.planning.marks import MarkSigner
from tests.support.stores import BucketStore
from tests.support.world import World, is_clean, rows

KEYS = {"a": "1", "b": "2", "c": "3"}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch, "memory-bucket")


def _forget(patch: pytest.MonkeyPatch, key: str) -> None:
    """Let the deep view lack this entry from now on."""
    whole = BucketStore.observe_deep

    async def observe_deep(store: BucketStore, namespace: str, signer: MarkSigner) -> Snapshot | None:
        snapshot = await whole(store, namespace, signer)
        assert snapshot is not None
        kept = {name: actual for name, actual in snapshot.entries.items() if name != Identity(key)}
        return replace(snapshot, entries=kept)

    patch.setattr(BucketStore, "observe_deep", observe_deep)


async def test_a_deep_view_that_lacks_an_entry_is_not_believed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of ours that the deep view lacks and a listing shows is not lost: everything is read one by one instead."""
    await world.settle(KEYS)
    _forget(monkeypatch, "b")
    for _ in range(2):
        assert rows(await world.plan(PassOptions(deep=True), writing="test")) == []
    world.edit("a", "0")
    world.want({"a": "1", "c": "3"})
    assert rows(await world.plan(PassOptions(deep=True))) == [("update", "drifted", "a"), ("delete", "removed", "b")]


async def test_an_entry_that_both_views_lack_is_missing(world: World) -> None:
    """An entry of ours that is neither in the deep view nor in a listing was deleted by somebody, and is healed."""
    await world.settle(KEYS)
    world.server.delete("web", "b")
    world.server.calls.clear()
    assert rows(await world.plan(PassOptions(deep=True))) == [("create", "missing", "b")]
    assert [call.method for call in world.server.calls] == ["listing", "listing"]
    assert is_clean(await world.apply(PassOptions(deep=True)))
