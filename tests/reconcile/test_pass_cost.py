"""What a pass of the daemon builds: no more than what differs, and nothing of it stays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kvsync.app import open_workspace
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.daemon.ports import PassRequest
from kvsync.desired.model import DocumentRows
from kvsync.model.entry import Mark, Target
from kvsync.stores.sqlite import rows as sqlite_rows

CONFIG = """
version: 1
owner: me
state: ["state/*.yaml"]
stores: {local: {type: sqlite, path: store.db}}
policy: {prune: owned}
"""
FILES, ENTRIES, WEB = 20, 10, Target("local", "web")


@pytest.fixture
async def reconciler(tmp_path: Path) -> AsyncIterator[WorkspaceReconciler]:
    """A daemon's reconciler over `FILES` files of one target, all applied, and started again as after a restart."""
    (tmp_path / "kvsync.yaml").write_text(CONFIG)
    (tmp_path / "state").mkdir()
    for file in range(FILES):
        lines = [f"  key{file:02d}.{entry}: value {entry}" for entry in range(ENTRIES)]
        text = "\n".join(["store: local", "namespace: web", "keys:", *lines, ""])
        (tmp_path / "state" / f"f{file:02d}.yaml").write_text(text)
    for _ in range(2):
        async with open_workspace(tmp_path / "kvsync.yaml", writing="run") as workspace:
            reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
            await reconciler.load()
            await passed(reconciler)
    async with open_workspace(tmp_path / "kvsync.yaml", writing="run") as workspace:
        reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
        await reconciler.load()
        yield reconciler


async def passed(reconciler: WorkspaceReconciler) -> None:
    assert (await reconciler.reconcile(PassRequest(WEB), lambda: False)).ok


def edit(root: Path) -> Path:
    file = (root / "state" / "f00.yaml").resolve()
    file.write_text(file.read_text().replace("value 0", "another value"))
    return file


async def test_a_pass_builds_only_what_differs(
    reconciler: WorkspaceReconciler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other entries of the target are compared as rows: neither the store's nor the ledger's become values."""
    built: list[object] = []
    to_mark = sqlite_rows._to_mark

    def counted(row: sqlite_rows.Row) -> Mark | None:
        built.append(row)
        return to_mark(row)

    monkeypatch.setattr(sqlite_rows, "_to_mark", counted)
    await reconciler.load(touched=[edit(tmp_path)])
    await passed(reconciler)
    assert 0 < len(built) < ENTRIES


async def test_what_a_pass_compared_is_freed(reconciler: WorkspaceReconciler, tmp_path: Path) -> None:
    """A daemon keeps the rows of its files packed, and unpacks them while it compares a target."""
    assert unpacked(reconciler) == []
    await reconciler.load(touched=[edit(tmp_path)])
    assert unpacked(reconciler) != []
    await passed(reconciler)
    assert unpacked(reconciler) == []


def unpacked(reconciler: WorkspaceReconciler) -> list[DocumentRows]:
    units = reconciler.workspace._source._reader.units.values()
    chunks = [chunk for _, unit in units for chunk in unit.chunks]
    assert len(chunks) == FILES
    return [chunk for chunk in chunks if "rows" in chunk.__dict__]
