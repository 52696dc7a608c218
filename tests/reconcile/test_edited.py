"""After an edit, a pass looks at the edited entries alone if the store is as a clean pass saw it. The plan is the same."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest

from kvsync.app import Workspace, open_workspace
from kvsync.desired import DesiredState
from kvsync.model.change import Action
from kvsync.model.digest import entry_digest
from kvsync.model.entry import Actual, Identity
from kvsync.model.plan import TargetPlan
from kvsync.stores.partial import PartialRead
from kvsync.stores.sqlite.store import SqliteStore
from kvsync.testing import FakeClock

CONFIG = """
version: 1
owner: me
state: ["state/*.yaml"]
stores: {local: {type: sqlite, path: store.db}}
policy: {prune: %s, drift: heal, guard: {max_update_pct: 100, max_delete_pct: 100}}
"""
STEPS = 12
PLAIN = ("{}", "{{value: {}, mode: create-only}}", "{{value: {}, tags: {{a: b}}}}")
SHAPES = (*PLAIN, "{{value: {}, protected: true}}", "{{value: {}, ttl: 5h}}", "{{value: {}, after: all}}")


class Editing:
    """A target of three files, which one process reads again and again."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, prune: str = "owned") -> None:
        self.root, self.clock, self.listings = root, FakeClock(), 0
        (root / "kvsync.yaml").write_text(CONFIG % prune)
        (root / "state").mkdir()
        self.keys: list[dict[str, str]] = [{f"k{number}{one}": "0" for one in range(4)} for number in range(3)]
        for number in range(3):
            self.write(number)
        observe = SqliteStore._observe

        def counted(store: SqliteStore, *rest: object) -> object:
            found = observe(store, *rest)  # type: ignore[arg-type]
            self.listings += found is not None
            return found

        monkeypatch.setattr(SqliteStore, "_observe", counted)

    def write(self, number: int, **keys: str) -> None:
        """Write a file, with some keys changed."""
        self.keys[number] |= keys
        lines = "".join(f"  {key}: {text}\n" for key, text in self.keys[number].items())
        (self.root / f"state/f{number}.yaml").write_text(f"store: local\nnamespace: web\nkeys:\n{lines}")

    def by_hand(self, statement: str) -> None:
        with closing(sqlite3.connect(self.root / "store.db")) as connection, connection:
            connection.execute(statement)

    @asynccontextmanager
    async def open(self, *, is_clean: bool = True) -> AsyncIterator[Workspace]:
        async with open_workspace(self.root / "kvsync.yaml", writing="test", clock=self.clock, environ={}) as opened:
            await opened.apply(await opened.plan(), command="test")
            if is_clean:
                await opened.plan()
            yield opened

    async def plan(self, opened: Workspace, files: DesiredState | None = None) -> TargetPlan:
        """Plan what the files ask now."""
        self.listings = 0
        (plan,) = (await opened.plan(None, opened.load() if files is None else files)).targets
        return plan

    async def whole(self, opened: Workspace) -> TargetPlan:
        """The plan of a pass that knows nothing of edits."""
        files = opened.load()
        targets = {target: replace(desired, edits=()) for target, desired in files.targets.items()}
        return await self.plan(opened, replace(files, targets=targets))


@pytest.fixture
def editing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Editing:
    return Editing(tmp_path, monkeypatch)


async def test_edit_costs_no_listing(editing: Editing) -> None:
    async with editing.open() as opened:
        editing.write(1, k10="edited", new="added")
        del editing.keys[1]["k11"]
        editing.write(1)

        plan = await editing.plan(opened)

        assert editing.listings == 0
        assert plan == await editing.whole(opened)
        assert editing.listings == 1
    actions = {change.identity.key: change.action for change in plan.changes}
    assert actions == {"k10": Action.UPDATE, "new": Action.CREATE, "k11": Action.DELETE}
    assert plan.unchanged == 10


async def test_edits_between_two_passes_are_planned_together(editing: Editing) -> None:
    async with editing.open() as opened:
        editing.write(1, k10="edited", gone="for a moment")
        opened.load()
        del editing.keys[1]["gone"]
        editing.write(1)
        opened.load()
        editing.write(2, k20="edited too")

        plan = await editing.plan(opened)

        assert editing.listings == 0
        assert [change.identity.key for change in plan.changes] == ["k10", "k20"]
        assert plan == await editing.whole(opened)


async def test_change_in_the_store_is_found(editing: Editing) -> None:
    async with editing.open() as opened:
        editing.by_hand("UPDATE entries SET value = 'other' WHERE key = 'k20'")
        editing.by_hand("INSERT INTO entries(namespace, key, value) VALUES ('web', 'theirs', 'x')")
        editing.write(1, k10="edited")

        plan = await editing.plan(opened)

    assert editing.listings == 1
    assert [(change.identity.key, change.cause) for change in plan.changes] == [("k10", "changed"), ("k20", "drifted")]
    assert plan.foreign == 1


async def test_own_write_is_not_taken_for_a_clean_pass(editing: Editing) -> None:
    async with editing.open(is_clean=False) as opened:
        editing.write(1, k10="edited")
        await editing.plan(opened)
        assert editing.listings == 1


async def test_new_entry_may_exist_already(editing: Editing) -> None:
    """A foreign entry that an edit asks for is not counted as foreign any more."""
    editing.write(0)
    async with editing.open(is_clean=False) as opened:
        editing.by_hand("INSERT INTO entries(namespace, key, value) VALUES ('web', 'theirs', 'x')")
        await opened.plan()
        editing.write(1, theirs="ours")

        plan = await editing.plan(opened)

        assert (plan.foreign, len(plan.refused)) == (0, 1)
        assert plan == await editing.whole(opened)


async def test_entry_that_cannot_be_read_is_not_taken_for_gone(
    editing: Editing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a pass would count as clean, and the entry would never be deleted."""
    read = SqliteStore.read

    async def partly(store: SqliteStore, namespace: str, wanted: Sequence[Identity]) -> Mapping[Identity, Actual]:
        found = {**await read(store, namespace, wanted)}
        if found.pop(Identity("k11"), None) is not None:
            raise PartialRead(found, {Identity("k11"): "it is locked"})
        return found

    async with editing.open() as opened:
        del editing.keys[1]["k11"]
        editing.write(1)
        with monkeypatch.context() as patches:
            patches.setattr(SqliteStore, "read", partly)
            await editing.plan(opened)
        plan = await editing.plan(opened)

    assert [(change.identity.key, change.action) for change in plan.changes] == [("k11", Action.DELETE)]


async def test_keys_that_the_policy_ignores_are_left_alone(editing: Editing) -> None:
    async with editing.open():
        pass
    text = (editing.root / "kvsync.yaml").read_text()
    (editing.root / "kvsync.yaml").write_text(text.replace("policy: {", "policy: {ignore: [k10, k11], "))
    async with editing.open() as opened:
        del editing.keys[1]["k11"]
        editing.write(1, k10="edited")

        plan = await editing.plan(opened)

    assert (plan.changes, plan.ignored) == ((), 2)


async def test_edited_entry_is_shown_in_the_line_that_it_is_in_now(editing: Editing) -> None:
    async with editing.open() as opened:
        editing.write(1, k13="edited")
        opened.load()
        del editing.keys[1]["k10"]
        editing.write(1)

        plan = await editing.plan(opened)

    assert editing.listings == 0
    origins = [str(change.origin).rpartition("/")[2] for change in plan.changes if change.action is Action.UPDATE]
    assert origins == ["f1.yaml:6:3"]


async def test_guard_counts_all_entries(editing: Editing) -> None:
    text = (editing.root / "kvsync.yaml").read_text()
    (editing.root / "kvsync.yaml").write_text(text.replace("max_update_pct: 100", "max_update_pct: 10"))
    async with editing.open() as opened:
        editing.write(1, k10="edited")
        one = await editing.plan(opened)
        editing.write(1, k11="edited")
        two = await editing.plan(opened)

    assert (editing.listings, one.parked) == (0, ())
    assert two.parked == ("would update 2 of 12 entries (16.7 %); the limit is 10 % (guard.max_update_pct)",)


async def test_ledger_keeps_the_entries_that_are_not_looked_at(editing: Editing) -> None:
    async with editing.open() as opened:
        editing.write(1, k10="edited")
        await opened.apply(await opened.plan(None, opened.load()), command="test")
        editing.by_hand("UPDATE entries SET owner = NULL, mark_fingerprint = NULL WHERE key = 'k20'")

        plan = await editing.plan(opened)

    assert [(change.identity.key, change.cause) for change in plan.changes] == [("k20", "drifted")]


async def test_undone_entry_is_forgotten_once_its_file_changes(editing: Editing) -> None:
    async with editing.open() as opened:
        (desired,) = opened.load().targets.values()
        known = opened.state.places.known(desired.target)
        assert known is not None
        undone = Identity("k10")
        opened.state.undone.put(known.place, {undone: (entry_digest(desired.entries[undone]), "run")})
        editing.write(1, k10="edited")

        plan = await editing.plan(opened)

        assert (editing.listings, len(plan.changes)) == (1, 1)
        assert opened.state.undone.all(known.place) == {}


async def test_plan_is_that_of_a_whole_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skipped = 0
    for seed, prune in enumerate(("owned", "scope", "owned", "scope", "off")):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with monkeypatch.context() as patches:
            skipped += await _play(Editing(folder, patches, prune), random.Random(seed))
    assert skipped > STEPS


async def _play(editing: Editing, chance: random.Random) -> int:
    """Edit and change the store at random, and compare the plans. Returns how many needed no listing."""
    skipped = 0
    async with editing.open() as opened:
        for step in range(STEPS):
            for _ in range(chance.choice((1, 1, 2))):
                _edit_some(editing, chance, step)
                files = opened.load()
            if chance.random() < 0.3:
                _touch_store(editing, chance, step)

            plan = await editing.plan(opened, files)
            skipped += editing.listings == 0

            assert _comparable(plan) == _comparable(await editing.whole(opened))
            if chance.random() < 0.7:
                await opened.apply(await opened.plan(), command="test")
                await opened.plan()
    return skipped


def _edit_some(editing: Editing, chance: random.Random, step: int) -> None:
    number = chance.randrange(3)
    keys = editing.keys[number]
    for count in range(chance.choice((1, 1, 3))):
        text = chance.choice(SHAPES if step > STEPS // 2 else PLAIN).format(f"s{step}-{count}")
        kind = chance.random()
        if kind < 0.6:
            keys[chance.choice([*keys])] = text
        elif kind < 0.8:
            keys[f"new{number}-{step}-{count}"] = text
        elif len(keys) > 1:
            del keys[chance.choice([*keys])]
    editing.write(number)


def _touch_store(editing: Editing, chance: random.Random, step: int) -> None:
    key = chance.choice([key for keys in editing.keys for key in keys])
    editing.by_hand(
        chance.choice(
            (
                f"UPDATE entries SET value = 'by hand {step}' WHERE key = '{key}'",
                f"DELETE FROM entries WHERE key = '{key}'",
                f"INSERT OR IGNORE INTO entries(namespace, key, value) VALUES ('web', 'theirs{step}', 'x')",
                f"UPDATE entries SET owner = NULL, mark_fingerprint = NULL WHERE key = '{key}'",
            )
        )
    )


def _comparable(plan: TargetPlan) -> Mapping[str, object]:
    """A plan without what differs between two passes: a lifetime that is about to begin ends a moment later."""
    return {name: getattr(plan, name) for name in plan.__slots__ if name != "next_moment"} | {
        "waits": plan.next_moment is not None
    }
