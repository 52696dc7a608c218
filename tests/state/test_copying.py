"""Moving between a state directory and a database loses nothing, in either direction."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.errors import StateDirError
from kvsync.state import StateDir
from kvsync.state.copying import copy
from kvsync.state.postgres_address import PostgresAddress
from kvsync.state.postgres_database import upgrade
from kvsync.state.records import RunRecord
from tests.state.examples import KEY, WEB, WEB_AT, WEB_KEY, applied, apply_one, print_of, update
from tests.support.postgres import Cluster


@pytest.fixture
def database(cluster: Cluster) -> PostgresAddress:
    address = PostgresAddress.of(cluster.new_database("copied"))
    upgrade(address, create=True)
    return address


def fill(state: StateDir) -> list[RunRecord]:
    apply_one(state, KEY, "before", "after")
    state.ledger.record(WEB_KEY, {KEY: applied("hunter2", sensitive=True)})
    state.pauses.pause("edge", None, "maintenance", 1.0)
    state.parked.park(WEB, "sha256:" + "a" * 64, "sha256:" + "b" * 64, ["too many deletes"], 2.0)
    state.quarantine.put(WEB_KEY, KEY, b"d" * 16, "refused", 3.0)
    state.passes.record(WEB, 4.0, drift={"drifted": 1})
    begun = state.journal.begin("apply")
    begun.intend(WEB_AT, [update(KEY, "after", "lost")])
    return state.journal.runs()


def test_a_directory_survives_the_way_to_a_database_and_back(tmp_path: Path, database: PostgresAddress) -> None:
    """Runs, changes, sealed fingerprints, pauses and parked plans are the same after both copies, and new runs are numbered
    after the old ones."""
    with (
        StateDir.open(tmp_path / "old", writable=True) as old,
        StateDir.open_postgres(tmp_path / "cache", database, writable=True) as shared,
        StateDir.open(tmp_path / "new", writable=True) as new,
    ):
        runs = fill(old)
        copy(old, shared, dry_run=False)
        counts = copy(shared, new, dry_run=False)
        assert counts["runs"] == len(runs)
        for state in (shared, new):
            assert state.journal.runs() == runs
            assert state.journal.changes(runs[0].id)[0].before == old.journal.changes(runs[0].id)[0].before
            assert state.ledger.all(WEB_KEY)[KEY].matches(print_of("hunter2"))
            assert state.pauses.all() == old.pauses.all()
            assert state.parked.all() == old.parked.all()
            assert state.quarantine.all(WEB_KEY) == old.quarantine.all(WEB_KEY)
            assert state.passes.drift_history() == old.passes.drift_history()
            assert state.seal(b"x") == old.seal(b"x")
            assert state.journal.begin("apply").id != runs[0].id
            assert len(state.journal.runs()) == len(runs) + 1


def test_what_is_not_empty_is_not_copied_into(tmp_path: Path, database: PostgresAddress) -> None:
    """Two histories cannot be merged; a dry run says so as well, and writes nothing."""
    with (
        StateDir.open(tmp_path / "old", writable=True) as old,
        StateDir.open_postgres(tmp_path / "cache", database, writable=True) as shared,
    ):
        fill(old)
        assert copy(old, shared, dry_run=True)["pauses"] == 1
        assert shared.pauses.all() == []
        shared.pauses.pause("edge", None, None, 1.0)
        with pytest.raises(StateDirError, match="it is not empty"):
            copy(old, shared, dry_run=True)
        with pytest.raises(StateDirError, match="it is not empty"):
            copy(old, shared, dry_run=False)
