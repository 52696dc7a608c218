"""What a pass costs the database that replicas share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from kvsync.app import open_workspace
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.daemon.ports import PassRequest
from kvsync.model.entry import Target
from kvsync.state.postgres_address import PostgresAddress
from kvsync.state.postgres_database import upgrade
from tests.support.postgres import Cluster, running_cluster

CONFIG = """
version: 1
owner: me
state: {files: ["state/*.yaml"], postgresql: {dsn: {env: KVSYNC_TEST_DSN}}}
stores: {local: {type: sqlite, path: store.db}}
policy: {prune: owned}
"""
DATABASE = "counted"
MOST = 6
"""Statements of a pass with nothing to do, as docs/fleet.md calculates with them."""


@pytest.fixture
def counting() -> Iterator[Cluster]:
    """A server that counts statements."""
    with running_cluster(shared_preload_libraries="pg_stat_statements") as cluster:
        yield cluster


def counted(connection: psycopg.Connection) -> list[tuple[str, int]]:
    """The statements that were sent to the state since this was last asked, with BEGIN and COMMIT."""
    sql = "SELECT query, calls FROM pg_stat_statements JOIN pg_database ON oid = dbid WHERE datname = %s"
    found = connection.execute(sql, (DATABASE,)).fetchall()
    connection.execute("SELECT pg_stat_statements_reset()")
    return found


async def test_a_pass_with_nothing_to_do_costs_few_statements(counting: Cluster, tmp_path: Path) -> None:
    """However many targets there are, and however often they were seen before."""
    address = PostgresAddress.of(counting.new_database(DATABASE))
    upgrade(address, create=True)
    (tmp_path / "kvsync.yaml").write_text(CONFIG)
    (tmp_path / "state").mkdir()
    (tmp_path / "state/a.yaml").write_text(
        "---\n".join(f"store: local\nnamespace: n{number}\nkeys: {{a: 1}}\n" for number in range(3))
    )
    environ = {"KVSYNC_TEST_DSN": address.dsn}
    async with open_workspace(tmp_path / "kvsync.yaml", writing="run", environ=environ) as workspace:
        reconciler, target = WorkspaceReconciler(workspace, workspace.pass_context, environ), Target("local", "n1")
        assert workspace.state.claims is not None
        workspace.state.claims.register(600)
        await reconciler.load()
        with psycopg.connect(counting.dsn(), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements")
            for _ in range(4):
                counted(connection)
                reconciler.read_ahead(target)
                assert not reconciler.is_paused(target)
                result = await reconciler.reconcile(PassRequest(target), lambda: False)
                workspace.state.passes.record(target, 1.0, drift=result.drift, changes=result.changes)
            found = counted(connection)
    assert result.ok
    assert any("INTO passes" in query for query, _ in found)
    assert sum(calls for _, calls in found) <= MOST, "\n".join(f"{calls} {query}" for query, calls in found)
