"""What a pass costs the database that replicas share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from kvsync.app import open_workspace
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.daemon.ports import PassRequest
from kvsync.model.entry import Target
from kvsync.state import StateDir
from kvsync.state.postgres_address import PostgresAddress
from kvsync.state.postgres_database import upgrade
from tests.state.examples import WEB
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


FIRST = 41
"""Statements of the pass that creates all entries of a target, as docs/fleet.md says; fewer when it neither prunes the journal
nor reads the revisions."""

SECOND = 14
"""Statements of the pass that then finds the target in sync."""


@pytest.fixture(scope="module")
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


@dataclass(frozen=True)
class CountedPasses:
    """Passes of a replica over a few targets, and the statements that they send."""

    connection: psycopg.Connection
    reconciler: WorkspaceReconciler
    state: StateDir

    async def run(self, target: Target) -> list[tuple[str, int]]:
        """The statements of one pass, as the daemon makes it."""
        counted(self.connection)
        self.reconciler.read_ahead(target)
        assert not self.reconciler.is_paused(target)
        result = await self.reconciler.reconcile(PassRequest(target), lambda: False)
        self.state.passes.record(target, 1.0, drift=result.drift, changes=result.changes)
        assert result.ok
        return counted(self.connection)


@asynccontextmanager
async def counted_passes(counting: Cluster, folder: Path, entries: int) -> AsyncIterator[CountedPasses]:
    """A replica that has claimed targets with so many entries."""
    address = PostgresAddress.of(counting.new_database(DATABASE))
    upgrade(address, create=True)
    keys = "".join(f"  key{number}: {number}\n" for number in range(entries))
    documents = [f"store: local\nnamespace: n{number}\nkeys:\n{keys}" for number in range(3)]
    (folder / "state").mkdir(parents=True)
    (folder / "kvsync.yaml").write_text(CONFIG)
    (folder / "state/a.yaml").write_text("---\n".join(documents))
    environ = {"KVSYNC_TEST_DSN": address.dsn}
    async with open_workspace(folder / "kvsync.yaml", writing="run", environ=environ) as workspace:
        reconciler, claims = WorkspaceReconciler(workspace, workspace.pass_context, environ), workspace.state.claims
        assert claims is not None
        claims.register(600)
        claims.take([Target("local", f"n{number}") for number in range(3)], {})
        await reconciler.load()
        with psycopg.connect(counting.dsn(), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            yield CountedPasses(connection, reconciler, workspace.state)


def total(found: Sequence[tuple[str, int]]) -> int:
    return sum(calls for _, calls in found)


def listed(found: Sequence[tuple[str, int]]) -> str:
    return "\n".join(f"{calls} {query}" for query, calls in found)


async def test_a_pass_with_nothing_to_do_costs_few_statements(counting: Cluster, tmp_path: Path) -> None:
    """However many targets there are, and however often they were seen before."""
    async with counted_passes(counting, tmp_path, entries=1) as passes:
        for _ in range(4):
            found = await passes.run(Target("local", "n1"))
    assert any("INTO passes" in query for query, _ in found)
    assert total(found) <= MOST, listed(found)


@pytest.mark.parametrize("entries", [1, 300])
async def test_a_first_apply_costs_few_statements(counting: Cluster, tmp_path: Path, entries: int) -> None:
    """However many entries it creates: intents, outcomes and ledger are written in one statement each."""
    async with counted_passes(counting, tmp_path, entries) as passes:
        await passes.run(Target("local", "n0"))  # also records the revision of the files
        first = await passes.run(Target("local", "n1"))
        second = await passes.run(Target("local", "n1"))
    assert total(first) <= FIRST, listed(first)
    assert total(second) <= SECOND, listed(second)


def test_a_call_over_the_network_is_timed(state: StateDir) -> None:
    """So that fewer passes run while the database is slow. A file takes no time."""
    state.passes.record(WEB, 1.0)
    assert (state.database.delay > 0) == state.is_shared
