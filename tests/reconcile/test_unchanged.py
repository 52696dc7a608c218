"""Unchanged targets are planned together: few statements and tasks however many there are, and the same plan as one by one."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from kvsync.app import TargetSelection, Workspace, open_workspace
from kvsync.errors import TransientError
from kvsync.model.entry import Target
from kvsync.model.pass_options import PassOptions
from kvsync.model.plan import TargetPlan
from kvsync.reconcile.places import PlaceResolver
from kvsync.state.sqlite_database import SqliteDatabase
from kvsync.stores.sqlite.database import Database
from kvsync.stores.sqlite.store import SqliteStore
from kvsync.testing import FakeClock

CONFIG = """
version: 1
owner: {owner}
state: ["state/*.yaml"]
stores:
  local: {{type: sqlite, path: store.db}}
policy: {{prune: owned}}
"""


class Files:
    """A repository with one file for each namespace of a SQLite store."""

    def __init__(self, root: Path, targets: int) -> None:
        self.root, self.clock = root, FakeClock()
        (root / "state").mkdir()
        self.configure()
        for number in range(targets):
            self.write(number, "a: 1")

    def configure(self, owner: str = "me") -> None:
        (self.root / "kvsync.yaml").write_text(CONFIG.format(owner=owner))

    def write(self, number: int, keys: str, more: str = "") -> None:
        file = self.root / f"state/f{number}.yaml"
        file.write_text(f"store: local\nnamespace: n{number}\n{more}\nkeys: {{{keys}}}\n")

    @asynccontextmanager
    async def open(self, writing: str | None = None) -> AsyncIterator[Workspace]:
        async with open_workspace(self.root / "kvsync.yaml", writing=writing, clock=self.clock, environ={}) as opened:
            yield opened

    async def apply(self) -> None:
        """Apply, and record a clean pass of every target."""
        async with self.open("test") as opened:
            await opened.apply(await opened.plan(), command="test")
            await opened.plan()

    async def plan(self, writing: str | None = None, ask: PassOptions | None = None) -> tuple[TargetPlan, ...]:
        async with self.open(writing) as opened:
            return (await opened.plan(TargetSelection(ask=ask or PassOptions()))).targets

    async def plan_each(self) -> tuple[TargetPlan, ...]:
        """The same with a pass for each target."""
        async with self.open() as opened:
            targets = sorted(opened.load().managed)
            return tuple([(await opened.plan(TargetSelection([one]))).targets[0] for one in targets])

    def by_hand(self, statement: str) -> None:
        with closing(sqlite3.connect(self.root / "store.db")) as connection, connection:
            connection.execute(statement)


class Counts:
    """What a plan costs: statements of the store, calls of its thread, and tasks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.statements = self.calls = self.tasks = 0
        client, run, create = Database._client, Database.run, asyncio.BaseEventLoop.create_task

        def counted_client(database: Database, **options: Any) -> sqlite3.Connection:
            connection = client(database, **options)
            connection.set_trace_callback(self._count_statement)
            return connection

        async def counted_run(database: Database, work: Callable[[], Any]) -> Any:
            self.calls += 1
            return await run(database, work)

        def counted_create(*arguments: Any, **options: Any) -> asyncio.Task[Any]:
            self.tasks += 1
            return create(*arguments, **options)

        monkeypatch.setattr(Database, "_client", counted_client)
        monkeypatch.setattr(Database, "run", counted_run)
        monkeypatch.setattr(asyncio.BaseEventLoop, "create_task", counted_create)

    def _count_statement(self, _sql: str) -> None:
        self.statements += 1

    def taken(self) -> tuple[int, int, int]:
        """The counts since this was last called."""
        found, self.statements, self.calls, self.tasks = (self.statements, self.calls, self.tasks), 0, 0, 0
        return found


@pytest.fixture
def statements_of_state(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that are sent to the state directory, without those of opening it."""
    found: list[str] = []
    for name in ("query", "one", "each"):
        method = getattr(SqliteDatabase, name)

        def counted(database: SqliteDatabase, sql: str, *rest: Any, _method: Any = method) -> Any:
            found.append(sql)
            return _method(database, sql, *rest)

        monkeypatch.setattr(SqliteDatabase, name, counted)
    return found


async def test_unchanged_targets_cost_one_call_to_their_store(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, statements_of_state: list[str]
) -> None:
    """As many statements, calls and tasks for sixty targets as for three."""
    counts, found = Counts(monkeypatch), []
    for number in (3, 60):
        files = Files(tmp_path_factory.mktemp("repo"), number)
        await files.apply()
        counts.taken()
        statements_of_state.clear()
        plans = await files.plan()
        assert [plan.unchanged for plan in plans] == [1] * number
        found.append((*counts.taken(), len(statements_of_state)))
    assert found[0] == found[1]


async def test_a_pass_of_an_unchanged_target_asks_the_state_little(
    tmp_path: Path, statements_of_state: list[str]
) -> None:
    """Where the target leads, its last clean pass, and what was about to be deleted or is parked; not what is deferred."""
    files = Files(tmp_path, 2)
    await files.apply()
    async with files.open() as opened:
        loaded = opened.load()
        statements_of_state.clear()
        await opened.plan(TargetSelection((Target("local", "n0"),)), loaded)
    tables = [statement.split(" FROM ")[1].split()[0] for statement in statements_of_state]
    assert sorted(tables) == ["memo", "parked", "places", "removals"]


CHANGES: dict[str, Callable[[Files], object]] = {
    "nothing": lambda _files: None,
    "an entry by hand": lambda files: files.by_hand("UPDATE entries SET value = 'x' WHERE namespace = 'n1'"),
    "an entry deleted by hand": lambda files: files.by_hand("DELETE FROM entries WHERE namespace = 'n1'"),
    "another program's entry": lambda files: files.by_hand(
        "INSERT INTO entries(namespace, key, value) VALUES ('n2', 'b', '2')"
    ),
    "a table": lambda files: files.by_hand("CREATE TABLE mine (x)"),
    "a file": lambda files: files.write(1, "a: 2"),
    "a policy": lambda files: files.write(1, "a: 1", "policy: {prune: never}"),
    "a broken file": lambda files: files.write(1, "a: 1", "namespaces: x"),
    "an empty file": lambda files: files.write(1, ""),
    "a new target": lambda files: files.write(9, "a: 1"),
    "a target without a file": lambda files: (files.root / "state/f1.yaml").unlink(),
    "the owner": lambda files: files.configure("you"),
    "the clock": lambda files: files.clock.advance(3600),
    "another store file": lambda files: (files.root / "store.db").rename(files.root / "other.db"),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_the_plans_are_those_of_single_passes(tmp_path: Path, what: str) -> None:
    """Whatever changed since the last clean pass, and of whatever target."""
    files = Files(tmp_path, 5)
    files.write(3, "a: {value: x, ttl: 30m}")
    files.write(4, "a: {value: x, sensitive: true}, b: 2")
    await files.apply()
    CHANGES[what](files)
    together = await files.plan()
    assert together == await files.plan_each()
    changed = [plan.target.namespace for plan in together if plan.changes or plan.problems or plan.refused]
    assert changed or what in ("nothing", "another program's entry", "a table", "a policy", "a target without a file")


@pytest.mark.parametrize(
    "ask", [PassOptions(deep=True), PassOptions(keys=("a",)), PassOptions(adopt=None, retry=True)], ids=str
)
async def test_a_pass_that_must_look_does_look(tmp_path: Path, ask: PassOptions) -> None:
    files = Files(tmp_path, 3)
    await files.apply()
    async with files.open() as opened:
        await opened.plan(TargetSelection(ask=ask))
        assert opened.stores["local"].traffic.requests >= 3


async def test_two_names_of_one_place_are_parked_all_the_same(tmp_path: Path) -> None:
    """A second store on the same file is noticed although nothing changed at the first one's places."""
    files = Files(tmp_path, 3)
    await files.apply()
    config = files.root / "kvsync.yaml"
    config.write_text(config.read_text().replace("policy:", "  copy: {type: sqlite, path: store.db}\npolicy:"))
    (files.root / "state/copy.yaml").write_text("store: copy\nnamespace: n1\nkeys: {a: 1}\n")
    plans = {plan.target: plan for plan in await files.plan()}
    assert [str(one) for one, plan in plans.items() if plan.parked] == ["copy/n1", "local/n1"]
    assert plans[Target("local", "n2")].unchanged == 1


async def test_a_store_that_cannot_check_is_left_to_the_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of the common call stops nothing; an error that lasts is reported for each target."""
    files = Files(tmp_path, 3)
    await files.apply()

    async def fails(*_arguments: object) -> None:
        raise TransientError("busy")

    monkeypatch.setattr(SqliteStore, "unchanged", fails)
    assert [plan.unchanged for plan in await files.plan()] == [1, 1, 1]
    monkeypatch.setattr(SqliteStore, "observe", fails)
    assert [plan.error for plan in await files.plan()] == ["busy"] * 3


async def test_a_writing_process_records_the_places(tmp_path: Path) -> None:
    """A file that was moved is the same place under another path, and is called by that from then on."""
    files = Files(tmp_path, 3)
    await files.apply()
    (files.root / "store.db").rename(files.root / "moved.db")
    config = files.root / "kvsync.yaml"
    config.write_text(config.read_text().replace("store.db", "moved.db"))
    await files.apply()
    assert [plan.moved_from for plan in await files.plan("test")] == [None] * 3
    async with files.open() as opened:
        known = opened.state.places.all()
    assert all("moved.db" in record.description for record in known.values())


@pytest.mark.parametrize("counts", ["{}", "{broken", "[]"])
async def test_a_damaged_record_concerns_its_target_alone(tmp_path: Path, counts: str) -> None:
    """The target is looked at again, and the others are planned as before."""
    files = Files(tmp_path, 3)
    await files.apply()
    with closing(sqlite3.connect(tmp_path / ".kvsync/state.db")) as database, database:
        database.execute("UPDATE memo SET counts = ? WHERE place = (SELECT min(place) FROM memo)", (counts,))
    plans = await files.plan()
    assert [(plan.error, plan.unchanged) for plan in plans] == [(None, 1)] * 3


@pytest.mark.parametrize("result", [{"n0", "n1"}, None, {"n0": "no place"}])
async def test_a_mistake_of_a_store_is_left_to_the_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: object
) -> None:
    """A store from another package may return anything."""

    async def wrong(_store: SqliteStore, _tokens: object) -> object:
        return result

    files = Files(tmp_path, 2)
    await files.apply()
    monkeypatch.setattr(SqliteStore, "unchanged", wrong)
    assert [(plan.error, plan.unchanged) for plan in await files.plan()] == [(None, 1)] * 2


async def test_a_mistake_at_one_target_leaves_the_others_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails after a target was found to be unchanged is the error of that target."""
    files = Files(tmp_path, 3)
    await files.apply()
    overlap_of = PlaceResolver.overlap_of

    async def failing(self: PlaceResolver, target: Target) -> object:
        if target.namespace == "n1":
            raise KeyError("mistake")
        return await overlap_of(self, target)

    monkeypatch.setattr(PlaceResolver, "overlap_of", failing)
    plans = await files.plan()
    assert [plan.error is None for plan in plans] == [True, False, True]
