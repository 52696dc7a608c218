"""Giving up ownership: marks and ledgers go, entries stay as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kvsync.app import Report
from kvsync.app.release import plan_release
from kvsync.errors import PermanentError, UsageError
from kvsync.model.entry import Identity
from kvsync.model.plan import Plan
from kvsync.stores.base import WriteStatus
from tests.support.memory_repository import MemoryRepository, is_clean, only, outcomes, refused, rows
from tests.support.stores import KINDS

ENTRIES = {"a": "one", "b": "two", "secret": "{value: hidden, sensitive: true}", "mortal": "{value: x, ttl: 7d}"}
KINDS_OF_STORES = pytest.mark.parametrize("kind", KINDS)


async def plan_of(world: MemoryRepository, *names: str, keys: tuple[str, ...] = (), writing: str | None = None) -> Plan:
    """The plan of a release, without doing it."""
    async with world.open(writing) as workspace:
        return await plan_release(workspace, workspace.load(), names, keys)


async def release(world: MemoryRepository, *names: str, keys: tuple[str, ...] = ()) -> Report:
    """Release these targets, as a command of its own."""
    async with world.open("release") as workspace:
        plan = await plan_release(workspace, workspace.load(), names, keys)
        return await workspace.apply(plan, command="release")


@KINDS_OF_STORES
async def test_released_entries_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """On every kind of store: contents and native lifetimes are the same afterwards, no mark and no ledger is left anywhere,
    entries of others are untouched, and what the files name is unowned then."""
    world = MemoryRepository(tmp_path, monkeypatch, kind, "{adopt: never}")
    world.server.write("web", "theirs", b"x")
    await world.settle(ENTRIES)
    before, theirs = world.server.contents("web"), world.server.held["web"]
    ends = {slot: held.expires_at for slot, held in theirs.items()}
    preview = only((await plan_of(world, "main/web")).targets)
    assert rows(preview) == [("release", "unowned", key) for key in sorted(ENTRIES)]
    assert preview.foreign == 1
    assert any("still name 4 entries" in note for note in preview.notes)
    assert is_clean(await release(world, "main/web"))
    assert world.server.contents("web") == before
    assert all(held.mark is None for held in world.server.held["web"].values())
    if KINDS[kind].capabilities.lifetimes == "native":
        assert {slot: held.expires_at for slot, held in world.server.held["web"].items()} == ends
    assert world.server.ledgers == {}
    world.clock.advance(KINDS[kind].capabilities.settle)
    after = await world.plan(writing="test")
    assert refused(after) == [("adopt", "unowned", key) for key in sorted(ENTRIES)]
    assert rows(after) == []
    world.server.calls.clear()
    assert rows(only((await plan_of(world, "main/web", writing="release")).targets)) == []


@KINDS_OF_STORES
async def test_a_release_stopped_anywhere_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Whichever write the store stops at, a second release leaves no mark and no ledger, and changes no content."""
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        world = MemoryRepository(folder, monkeypatch, kind, "{adopt: never}")
        await world.settle(ENTRIES)
        before = world.server.contents("web")
        calls = 0

        def interrupt() -> None:
            nonlocal calls
            calls += 1
            if calls > number:  # noqa: B023 - called before the next round
                raise PermanentError("the store is gone")

        world.server.before_change(interrupt, times=99)
        await release(world, "main/web")
        world.server.heal()
        await release(world, "main/web")
        assert world.server.contents("web") == before
        assert all(held.mark is None for held in world.server.held["web"].values())
        assert world.server.ledgers == {}
        async with world.open(None) as workspace:
            assert [workspace.state.ledger.all(one.place) for one in workspace.state.places.all().values()] == [{}]


async def test_what_was_changed_meanwhile_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that another writer puts between plan and write stays."""
    world = MemoryRepository(tmp_path, monkeypatch)
    await world.settle({"a": "one", "b": "two"})
    world.server.before_change(lambda: world.edit("a", "theirs"))
    report = await release(world, "main/web")
    assert outcomes(report) == {"a": "conflict", "b": "applied"}
    assert world.held("a") == "theirs"


async def test_a_locked_entry_stays_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused by name, and stays in the ledger; a later release finishes."""
    world = MemoryRepository(tmp_path, monkeypatch)
    await world.settle({"a": "one", "b": "two"})
    world.server.lock("web", "a")
    assert refused(only((await plan_of(world, "main/web")).targets)) == [("release", "locked", "a")]
    await release(world, "main/web")
    world.server.lock("web", "a", locked=False)
    assert rows(only((await plan_of(world, "main/web")).targets)) == [("release", "unowned", "a")]


async def test_what_the_store_refused_to_release_stays_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry whose mark could not be removed stays in the ledger, so that a later release finishes."""
    world = MemoryRepository(tmp_path, monkeypatch)
    await world.settle({"a": "one", "b": "two"})
    world.server.fail_entry("a", WriteStatus.REJECTED)
    assert outcomes(await release(world, "main/web")) == {"a": "failed", "b": "applied"}
    async with world.open(None) as workspace:
        (place,) = {one.place for one in workspace.state.places.all().values()}
        assert workspace.state.ledger.all(place).keys() == {Identity("a")}


async def test_an_incomplete_listing_releases_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not seen must not be forgotten."""
    world = MemoryRepository(tmp_path, monkeypatch)
    await world.settle({"a": "one", "b": "two"})
    world.server.list_incompletely(keep=1)
    report = await release(world, "main/web")
    assert "incomplete" in only(report.targets).plan.parked[0]
    async with world.open(None) as workspace:
        (place,) = {one.place for one in workspace.state.places.all().values()}
        assert workspace.state.ledger.all(place).keys() == {Identity("a"), Identity("b")}


async def test_some_keys_can_be_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others stay ours; undo gives back what was released."""
    world = MemoryRepository(tmp_path, monkeypatch, policy="{adopt: never}")
    await world.settle({"a": "one", "b": "two"})
    report = await release(world, "main/web", keys=("a",))
    assert outcomes(report) == {"a": "applied"}
    assert refused(await world.plan(writing="test")) == [("adopt", "unowned", "a")]
    assert report.run is not None
    await world.undo(report.run)
    assert rows(await world.plan(writing="test")) == refused(await world.plan(writing="test")) == []


async def test_orphans_can_be_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that no file names any more is known by its entries; unknown names are errors."""
    world = MemoryRepository(tmp_path, monkeypatch)
    await world.settle({"a": "one"})
    world.state("store: main\nnamespace: other\nkeys: {x: y}\n")
    assert rows(only((await plan_of(world, "main/web")).targets)) == [("release", "unowned", "a")]
    assert len((await plan_of(world, "main")).targets) == 2
    with pytest.raises(UsageError, match="unknown store 'mian'"):
        await plan_of(world, "mian/web")
    assert replace(await plan_of(world, "main/none")).targets[0].changes == ()
