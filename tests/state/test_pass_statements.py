"""What a pass costs the database that replicas share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from kvsync.app import open_workspace
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.daemon.ports import PassRequest
from kvsync.model.entry import Target
from kvsync.state.postgres_database import PostgresAddress, upgrade
from tests.support.postgres import Cluster

CONFIG = """
version: 1
owner: me
state: {files: ["state/*.yaml"], postgresql: {dsn: {env: KVSYNC_TEST_DSN}}}
stores: {local: {type: sqlite, path: store.db}}
policy: {prune: owned}
"""
MOST = 15
"""Statements of a pass with nothing to do, as docs/fleet.md calculates with them."""


async def test_a_pass_with_nothing_to_do_costs_few_statements(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many targets there are, and however often they were seen before."""
    address = PostgresAddress.of(cluster.new_database("counted"))
    upgrade(address, create=True)
    (tmp_path / "kvsync.yaml").write_text(CONFIG)
    (tmp_path / "state").mkdir()
    (tmp_path / "state/a.yaml").write_text(
        "---\n".join(f"store: local\nnamespace: n{number}\nkeys: {{a: 1}}\n" for number in range(3))
    )
    sent: list[str] = []
    execute = psycopg.Connection.execute

    def counted(connection: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        sent.append(str(query))
        return execute(connection, query, *arguments, **options)

    environ = {"KVSYNC_TEST_DSN": address.dsn}
    async with open_workspace(tmp_path / "kvsync.yaml", writing="run", environ=environ) as workspace:
        reconciler, target = WorkspaceReconciler(workspace, workspace.pass_context, environ), Target("local", "n1")
        assert workspace.state.claims is not None
        workspace.state.claims.register(600)
        await reconciler.load()
        for _ in range(3):
            result = await reconciler.reconcile(PassRequest(target), lambda: False)
        monkeypatch.setattr(psycopg.Connection, "execute", counted)
        result = await reconciler.reconcile(PassRequest(target), lambda: False)
        workspace.state.passes.record(target, 1.0, drift=result.drift, changes=result.changes)
        monkeypatch.undo()
    assert result.ok
    assert len(sent) <= MOST, "\n".join(sent)
