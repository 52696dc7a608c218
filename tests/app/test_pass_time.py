"""A pass ends within `limits.pass_time`, says what it left, and the next one goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kvsync.app import TargetSelection
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.daemon.ports import PassRequest
from kvsync.model.entry import Target
from kvsync.model.snapshot import Snapshot
from kvsync.planning.marks import MarkSigner
from kvsync.stores.memory.store import MemoryStore
from tests.support.memory_repository import MemoryRepository

WEB = Target("main", "web")


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    """Over a store that takes one write a call, four at a time."""
    return MemoryRepository(tmp_path, monkeypatch, kind="memory-prefix")


async def test_what_a_slow_store_leaves_is_done_by_the_next_passes(repo: MemoryRepository) -> None:
    """Each write takes 20 s of the minute that a pass has. Nothing fails or is written twice, and all is there at last."""
    repo.configure(more="limits: {pass_time: 1m}")
    repo.want({f"k{number:02}": 1 for number in range(12)})
    repo.server.before_change(lambda: repo.clock.advance(20), times=12)
    async with repo.open("run") as workspace:
        reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
        await reconciler.load()
        first = await reconciler.reconcile(PassRequest(WEB), lambda: False)
        passes = 1
        result = first
        while result.pending:
            result = await reconciler.reconcile(PassRequest(WEB), lambda: False)
            passes += 1
            assert passes < 10
    assert first.changes["applied"] >= 3
    assert first.changes["not-attempted"] == 12 - first.changes["applied"]
    assert first.failed == 0
    assert first.error == "main/web: the pass exceeded its time limit (limits.pass_time, 60 s); the next pass continues"
    assert (first.retryable, first.unavailable) == (True, False)
    assert result.ok
    assert (len(repo.values()), repo.writes()) == (12, 12)


async def test_a_store_that_never_answers_ends_the_plan_of_its_target_alone(
    repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing without end is an error of its target, which is left as it is; another target of the store is planned."""
    repo.configure(more="limits: {pass_time: 1s}")
    repo.want({"a": 1})
    repo.state("store: main\nnamespace: api\nkeys: {b: 1}\n", "api.yaml")
    observe = MemoryStore.observe

    async def hangs(self: MemoryStore, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        if namespace == "web":
            await asyncio.Event().wait()
        return await observe(self, namespace, signer, token)

    monkeypatch.setattr(MemoryStore, "observe", hangs)
    async with repo.open("run") as workspace:
        api, web = (await workspace.plan(TargetSelection())).targets
    assert (web.changes, web.complete) == ((), False)
    assert web.error is not None
    assert "limits.pass_time" in web.error
    assert [change.identity.key for change in api.changes] == ["b"]
