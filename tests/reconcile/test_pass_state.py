"""What kvsync remembers: clean passes, what it applied, and what it does when that memory is lost."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import cast

import pytest

from kvsync.model.entry import Target
from kvsync.model.pass_options import PassOptions
from kvsync.state.claims import Replica, TargetClaims
from tests.support.memory_repository import MemoryRepository, is_clean, outcomes, reported, rows
from tests.support.stores import KINDS

LOCAL_KINDS = ("memory-bucket", "memory-ledger", "memory-mortal", "memory-plain-bucket")
SHARED_KINDS = ("memory-shared-bucket", "memory-shared-mortal")
LEDGER_KINDS = LOCAL_KINDS + SHARED_KINDS
WEB = Target("main", "web")


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch)


@pytest.fixture(params=LEDGER_KINDS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch, request.param)


@pytest.fixture(params=LOCAL_KINDS)
def local(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch, request.param)


def clear_everything(repo: MemoryRepository) -> None:
    shutil.rmtree(repo.root / ".kvsync")


async def test_a_fresh_state_directory_learns_what_is_ours(repo: MemoryRepository) -> None:
    """With the state directory lost, one writing pass is enough to call a lost entry missing instead of new."""
    await repo.settle({"a": 1, "b": 1})
    clear_everything(repo)
    assert outcomes(await repo.apply()) == {}
    repo.server.delete("web", "b")
    assert rows(await repo.plan()) == [("create", "missing", "b")]


async def test_without_a_pass_in_between_a_lost_entry_is_new(repo: MemoryRepository) -> None:
    """What nobody ever saw cannot be called missing."""
    await repo.settle({"a": 1, "b": 1})
    clear_everything(repo)
    repo.server.delete("web", "b")
    assert rows(await repo.plan()) == [("create", "new", "b")]


async def test_a_plan_alone_changes_nothing_that_is_known(repo: MemoryRepository) -> None:
    """Planning writes to no store and leaves the ledger as it is."""
    await repo.settle({"a": 1})
    clear_everything(repo)
    await repo.plan()
    async with repo.open(writing=None) as workspace:
        assert workspace.state.ledger.all((await workspace.locate(WEB)).key) == {}
    assert repo.writes() == 0


async def test_a_lost_ledger_deletes_nothing_and_adopts_what_is_equal(local: MemoryRepository) -> None:
    """Where only the ledger knows what is ours, losing it turns our entries into nobody's: none is deleted."""
    await local.settle({"a": 1, "b": 1, "c": 1})
    clear_everything(local)
    local.want({"a": 1, "b": 2})
    report = await local.apply()
    assert outcomes(report) == {"a": "applied", "b": "refused"}
    assert rows(report.plan.targets[0]) == [("adopt", "unowned", "a")]
    assert report.plan.targets[0].foreign == 1
    assert local.values() == {"a": "1", "b": "1", "c": "1"}
    assert rows(await local.plan()) == []


async def test_the_ledger_knows_what_may_be_deleted(ledger: MemoryRepository) -> None:
    """Where the store keeps no marks, entries of the ledger are deleted and all others stay."""
    await ledger.settle({"a": 1, "b": 1})
    ledger.server.write("web", "theirs", b"x")
    ledger.want({"a": 1})
    assert is_clean(await ledger.apply())
    assert ledger.values() == {"a": "1", "theirs": "x"}
    assert rows(await ledger.plan()) == []


async def test_drift_is_seen_by_the_ledger(ledger: MemoryRepository) -> None:
    """Where the store keeps no marks, an edit by hand is drift all the same, and healed."""
    await ledger.settle({"a": 1, "b": 1})
    ledger.server.write("web", "a", b"theirs", expires_at=ledger.clock.now() + 7_776_000)
    ledger.server.delete("web", "b")
    report = await ledger.apply()
    assert rows(report.plan.targets[0]) == [("update", "drifted", "a"), ("create", "missing", "b")]
    assert ledger.values() == {"a": "1", "b": "1"}


async def test_what_a_killed_run_wrote_is_not_lost_to_the_ledger(ledger: MemoryRepository) -> None:
    """An entry that was written, but not noted any more, is still ours afterwards, whatever policy.adopt says."""
    ledger.configure("{adopt: never, drift: report}")
    await ledger.settle({"a": 1, "b": 1})
    ledger.want({"a": 2, "b": 1, "c": 1})
    await killed_before_settling(ledger)
    assert ledger.values() == {"a": "2", "b": "1", "c": "1"}
    ledger.want({"a": 3, "b": 1, "c": 3})
    assert is_clean(await ledger.apply())
    assert ledger.values() == {"a": "3", "b": "1", "c": "3"}
    assert rows(await ledger.plan()) == []


async def test_what_a_killed_run_deleted_is_ours_if_it_becomes_visible_again(ledger: MemoryRepository) -> None:
    """A read may be late: an entry that a killed run deleted, and that is listed once more, is deleted again, not foreign."""
    await ledger.settle({"a": 1, "b": 1})
    entries = dict(ledger.server.held["web"])
    ledger.want({"b": 1})
    await killed_before_settling(ledger)
    assert ledger.values() == {"b": "1"}
    assert is_clean(await ledger.apply())
    ledger.server.held["web"] = entries
    assert is_clean(await ledger.apply())
    assert ledger.values() == {"b": "1"}


async def test_a_delete_of_an_entry_that_the_ledger_lost_is_completed(local: MemoryRepository) -> None:
    """A killed run deleted an entry, and the ledger no longer knows it: the next pass has nothing to do."""
    await local.settle({"a": 1, "b": 1})
    local.want({"b": 1})
    await killed_before_settling(local)
    with closing(sqlite3.connect(local.root / ".kvsync/state.db")) as connection, connection:
        assert connection.execute("DELETE FROM ledger WHERE key = 'a'").rowcount == 1
    assert is_clean(await local.apply())
    assert local.values() == {"b": "1"}
    assert rows(await local.plan()) == []


async def killed_before_settling(repo: MemoryRepository) -> None:
    """Apply in a run that ends as a killed one does: intents are in the journal, the store is written, no outcome is."""
    async with repo.open() as workspace:
        plan = await workspace.plan()
        run = workspace.state.journal.begin("test")
        run.settle = lambda *_arguments: None  # type: ignore[method-assign]
        run.finish = lambda *_arguments: None  # type: ignore[method-assign]
        workspace.state.journal.begin = lambda *_arguments: run  # type: ignore[method-assign]
        await workspace.apply(plan, command="test")


@pytest.mark.parametrize("kind", ["memory-bucket", "memory-edge"])
async def test_a_deep_pass_finds_an_edit_that_kept_the_fingerprint(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the listing's fingerprint is believed, only reading the values shows an edit that left it standing."""
    repo = MemoryRepository(tmp_path, monkeypatch, kind)
    await repo.settle({"a": 1, "b": 1})
    repo.edit("a", "2")
    if kind == "memory-edge":
        assert rows(await repo.plan()) == []
    assert rows(await repo.plan(PassOptions(deep=True))) == [("update", "drifted", "a")]
    assert is_clean(await repo.apply(PassOptions(deep=True)))
    assert repo.held("a") == "1"


class Database:
    """The same repository over a SQLite store, whose tokens let a clean pass end early."""

    def __init__(self, repo: MemoryRepository) -> None:
        self.repo = repo
        repo.kind = "sqlite"
        self.configure()

    def configure(self, options: str = "", policy: str = "prune: owned") -> None:
        text = (
            f'version: 1\nowner: team-a\nstate: ["state/*.yaml"]\npolicy: {{{policy}}}\n'
            f"stores:\n  main: {{type: sqlite, path: {self.repo.root}/store.db{options}}}\n"
        )
        (self.repo.root / "kvsync.yaml").write_text(text)


@pytest.fixture
def database(repo: MemoryRepository) -> Database:
    return Database(repo)


def has_memo(repo: MemoryRepository) -> bool:
    with closing(sqlite3.connect(repo.root / ".kvsync/state.db")) as connection:
        return bool(connection.execute("SELECT count(*) FROM memo").fetchone()[0])


async def test_a_clean_pass_is_remembered_with_its_counts(database: Database) -> None:
    """The pass after a clean one asks for the token alone, and tells the same counts."""
    repo = database.repo
    repo.want({"a": 1, "b": "{value: x, ttl: 1h}"})
    assert is_clean(await repo.apply())
    first = await repo.plan()
    assert has_memo(repo)
    async with repo.open(writing=None) as workspace:
        plan = (await workspace.plan()).targets[0]
        assert workspace.stores["main"].traffic.bytes_received == 0
    assert (plan.unchanged, plan.next_moment, plan.digest) == (first.unchanged, first.next_moment, first.digest)


async def test_files_time_policy_and_key_format_void_a_clean_pass(database: Database) -> None:
    """Whatever a plan depends on besides the store is looked at again when it changes."""
    repo = database.repo
    repo.want({"a": 1, "b": "{value: x, ttl: 1h}"})
    assert is_clean(await repo.apply())
    assert rows(await repo.plan()) == []
    repo.want({"a": 2, "b": "{value: x, ttl: 1h}"})
    assert rows(await repo.plan()) == [("update", "changed", "a")]
    repo.want({"a": 1, "b": "{value: x, ttl: 1h}"})
    assert rows(await repo.plan()) == []
    database.configure(', key_format: "x/{key}"')
    assert {row[:2] for row in rows(await repo.plan())} >= {("create", "new")}  # another place
    database.configure()
    assert rows(await repo.plan()) == []
    database.configure(policy='prune: owned, ignore: ["a"]')
    assert (await repo.plan()).unchanged == 2
    database.configure()
    repo.clock.advance(2 * 3600)
    assert [row[1:] for row in rows(await repo.plan())] == [("expiring", "b")]


async def test_another_database_voids_a_clean_pass(database: Database) -> None:
    """A store that leads somewhere else is looked at again, also when it is empty."""
    repo = database.repo
    repo.want({"a": 1})
    assert is_clean(await repo.apply())
    assert rows(await repo.plan()) == []
    (repo.root / "store.db").unlink()
    for name in ("store.db-wal", "store.db-shm"):
        (repo.root / name).unlink(missing_ok=True)
    assert rows(await repo.plan()) == [("create", "new", "a")]


async def test_a_hand_edit_voids_a_clean_pass(database: Database) -> None:
    """An edit with any SQLite program is seen by the next pass."""
    repo = database.repo
    repo.want({"a": 1})
    assert is_clean(await repo.apply())
    assert rows(await repo.plan()) == []
    with closing(sqlite3.connect(repo.root / "store.db")) as connection, connection:
        connection.execute("UPDATE entries SET value = x'32'")
    assert rows(await repo.plan()) == [("update", "drifted", "a")]


async def test_no_memory_of_a_pass_with_differences(database: Database) -> None:
    """Only a pass with nothing to change, refuse or report counts as clean."""
    repo = database.repo
    repo.want({"a": 1, "b": '{value: "1", mode: observe}'})
    await repo.apply()
    assert reported(await repo.plan())
    assert not has_memo(repo)


async def test_a_deep_or_narrowed_pass_does_not_represent_a_whole_one(database: Database) -> None:
    """A pass over some keys leaves no memory of a clean target."""
    repo = database.repo
    repo.want({"a": 1, "b": 1})
    assert is_clean(await repo.apply(PassOptions(keys=("a",))))
    assert rows(await repo.plan(PassOptions(keys=("a",)))) == []
    assert rows(await repo.plan()) == [("create", "new", "b")]


def test_all_kinds_of_ledger_stores_are_tried() -> None:
    """The kinds named here are all that keep no marks."""
    kept = {kind for kind, store in KINDS.items() if store.capabilities.marks == "ledger"}
    assert kept == set(LEDGER_KINDS)


class Claims:
    """Claims of one replica, which are new ones whenever they are asked for without a number."""

    def __init__(self) -> None:
        self.me, self.held = Replica("one", "host", 1, "1", "me"), dict[Target, int]()
        self.bound: list[int] = []
        self._numbers = count()

    def bind(self, _target: Target, fence: int | None = None) -> int:
        self.bound.append(next(self._numbers) if fence is None else fence)
        return self.bound[-1]


async def test_a_plan_is_applied_under_the_claim_that_it_was_made_with(repo: MemoryRepository) -> None:
    """Another replica may have worked on a target that was claimed again since: then the plan must not be applied."""
    repo.want({"a": 1})
    async with repo.open(writing="apply") as workspace:
        claims = Claims()
        workspace.state.claims = cast("TargetClaims", claims)
        plan = await workspace.plan()
        planned = claims.bound[-1]
        claims.bound.clear()
        await workspace.apply(plan, command="apply")
        workspace.state.claims = None
    assert set(claims.bound) == {planned}
