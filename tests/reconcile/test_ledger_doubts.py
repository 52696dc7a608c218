"""Stores without room for marks, where one bad answer must not decide whose an entry is: neither ours becomes foreign for
good, nor foreign ours."""

from __future__ import annotations

import asyncio
import os
import pickle
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kvsync.errors import AuthError, LostAnswer, TransientError
from kvsync.model.capabilities import Marks
from kvsync.model.pass_options import PassOptions
from kvsync.state import RunStatus
from tests.support.stores import KINDS, BucketStore
from tests.support.world import World, is_clean, outcomes, refused, rows

BY_LEDGER = [kind for kind, store in KINDS.items() if store.capabilities.marks is Marks.LEDGER]
WITHOUT_VERSIONS = [kind for kind in BY_LEDGER if not KINDS[kind].capabilities.compare_and_set]
DAY = 86_400
FREE_HAND = "{adopt: never, guard: {max_update_pct: 100, max_delete_pct: 100}}"


def kinds(names: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", names)


@pytest.fixture
def kind() -> str:
    return "memory-bucket"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> World:
    return World(tmp_path, monkeypatch, kind, FREE_HAND)


KEYS: dict[str, Any] = {"a": 1, "b": 1, "c": 1}
WITHOUT_LATE = KEYS
WITH_LATE = KEYS | {"late": "one"}


def lives(world: World) -> dict[str, Any]:
    """What an entry that another program writes needs, where everything ends."""
    return {"expires_at": world.clock.now() + 30 * DAY} if KINDS[world.kind].capabilities.always_expires else {}


def at_write(patch: pytest.MonkeyPatch, world: World, then: Callable[[], None]) -> None:
    """Do something right after the store has done its next write, before anybody can read it back."""
    store = KINDS[world.kind]
    write = store.write

    async def interrupted(self: Any, namespace: str, writes: Any) -> Any:
        patch.setattr(store, "write", write)
        results = await write(self, namespace, writes)
        then()
        return results

    patch.setattr(store, "write", interrupted)


def lose(world: World) -> None:
    """Lose the answer to what was just written, and let nothing be read for a while."""
    world.server.fail(TransientError("reset"), times=50, on=["lookup", "ledger"])
    raise LostAnswer("the connection broke before the answer came")


# -- listings ---------------------------------------------------------------------------------------------------------


@kinds(BY_LEDGER)
@pytest.mark.parametrize("wish", ["removed", "changed"])
async def test_a_late_listing_forgets_nothing(world: World, wish: str) -> None:
    """A listing that is late just when an entry leaves the files does not show it: once it does, the entry is still ours, to
    delete and to change."""
    await world.settle(WITHOUT_LATE)
    world.server.list_late(30)
    world.want(WITH_LATE)
    assert is_clean(await world.apply())
    world.want(WITHOUT_LATE)
    assert rows((await world.apply()).plan.targets[0]) == []
    world.server.list_late(0)
    if wish == "changed":
        world.want(KEYS | {"late": "two"})
        assert rows(await world.plan()) == [("update", "changed", "late")]
        assert is_clean(await world.apply())
        assert world.held("late") == "two"
    else:
        assert rows(await world.plan()) == [("delete", "removed", "late")]
        assert is_clean(await world.apply())
        assert world.held("late") is None
    assert rows(await world.plan()) == []


async def out_of_sight(world: World) -> None:
    """Let an entry of ours leave the files and the listing at the same time, so that the ledger keeps it in mind."""
    await world.settle(WITH_LATE)
    world.server.delete("web", "late")
    world.want(WITHOUT_LATE)
    assert rows((await world.apply()).plan.targets[0]) == []


@kinds(BY_LEDGER)
@pytest.mark.parametrize("value", [b"theirs", b"two", b"o n e"])
async def test_what_others_make_of_an_entry_out_of_sight_is_theirs(world: World, value: bytes) -> None:
    """What becomes visible with other content, of whatever size, was made by somebody else: it is neither deleted nor
    overwritten, and counted as foreign."""
    await out_of_sight(world)
    world.server.write("web", "late", value, **lives(world))
    report = await world.apply()
    assert (outcomes(report), report.plan.targets[0].foreign) == ({}, 1)
    for wish in ("one", "mine"):
        world.want(KEYS | {"late": wish})
        assert refused((await world.apply()).plan.targets[0]) == [("update", "unowned", "late")]
    assert world.held("late") == value.decode()


@kinds(WITHOUT_VERSIONS)
async def test_an_entry_out_of_sight_that_others_made_is_written_as_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """With `adopt: always` it is overwritten as any other that was never ours; and if its maker is quicker than the
    read-back, it is theirs again."""
    world = World(tmp_path, monkeypatch, kind, FREE_HAND.replace("never", "always"))
    await out_of_sight(world)
    world.server.write("web", "late", b"theirs", **lives(world))
    world.want(KEYS | {"late": "mine"})
    assert rows(await world.plan()) == [("update", "unowned", "late")]
    at_write(monkeypatch, world, lambda: world.server.write("web", "late", b"theirs again", **lives(world)))
    assert outcomes(await world.apply()) == {"late": "conflict"}
    assert rows(await world.plan()) == [("update", "unowned", "late")]
    world.want(KEYS)
    assert outcomes(await world.apply()) == {}
    assert world.held("late") == "theirs again"


@kinds(BY_LEDGER)
async def test_an_entry_that_is_visible_again_is_known_again(world: World) -> None:
    """Once an entry that was out of sight is found as it was, it is like any other: its loss and its change are drift."""
    await out_of_sight(world)
    world.server.write("web", "late", b"one", **lives(world))
    world.want(WITH_LATE)
    report = await world.apply()
    changes = rows(report.plan.targets[0])
    assert changes in ([], [("renew", "expiring", "late")])  # where everything ends, others give it another life
    assert rows(await world.plan()) == []
    world.server.calls.clear()
    await world.plan()
    assert "lookup" not in {call.method for call in world.server.calls} or world.kind == "memory-plain-bucket"
    world.edit("late", "other text")
    assert [row[:2] for row in rows(await world.plan())] == [("update", "drifted")]


@kinds(BY_LEDGER)
async def test_an_entry_is_not_kept_in_mind_for_longer_than_a_quarter(world: World) -> None:
    """After 90 days out of sight an entry is forgotten: the ledger does not grow with everything that ever was."""
    await out_of_sight(world)
    for days, is_known in ((60, True), (31, False), (1, False)):
        world.clock.advance(days * DAY)
        if not KINDS[world.kind].capabilities.always_expires:
            await world.apply()
            assert ("late" in await known(world)) is is_known


async def known(world: World) -> set[str]:
    """The keys in the ledger of the state directory."""
    from tests.support.machines import WEB

    async with world.open(writing=None) as workspace:
        subject = await workspace.locate(WEB)
        return {identity.key for identity in workspace.state.ledger.all(subject.key)}


async def test_an_entry_that_the_store_ended_is_not_kept_in_mind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store itself ends entries, one whose life is over cannot become visible again."""
    world = World(tmp_path, monkeypatch, "memory-mortal", FREE_HAND)
    await world.settle(WITH_LATE)
    world.clock.advance(30 * DAY)
    world.server.delete("web", "late")
    world.want(WITHOUT_LATE)
    for days, is_known in ((0, True), (59, True), (2, False)):
        world.clock.advance(days * DAY)
        await world.apply()
        assert ("late" in await known(world)) is is_known


@pytest.mark.parametrize("lacks", ["late", "a"])
async def test_a_deep_view_costs_no_listing_for_what_is_out_of_sight(world: World, lacks: str) -> None:
    """A deep view that lacks an entry of ours is held against a listing, unless the entry is out of sight anyway."""
    await out_of_sight(world)
    if lacks == "a":
        world.server.delete("web", "a")
    world.server.calls.clear()
    await world.plan(PassOptions(deep=True))
    assert world.server.count("listing") == (2 if lacks == "a" else 1)


# -- single entries ---------------------------------------------------------------------------------------------------


@kinds(WITHOUT_VERSIONS)
@pytest.mark.parametrize("shown", [None, b"older"])
async def test_a_bad_read_back_orphans_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, shown: bytes | None
) -> None:
    """A created entry that one read right after the write does not show, or not as it was written, is ours all the same: to
    change and to delete."""
    await world.settle(KEYS)
    world.want(KEYS | {"new": "one"})
    at_write(monkeypatch, world, lambda: world.server.misread("new", shown))
    assert outcomes(await world.apply()) == {"new": "failed" if shown is None else "conflict"}
    world.want(KEYS | {"new": "two"})
    assert rows(await world.plan(writing="test")) == [("update", "changed", "new")]
    assert is_clean(await world.apply())
    assert world.held("new") == "two"
    world.want(KEYS)
    assert is_clean(await world.apply())
    assert world.held("new") is None


@kinds(WITHOUT_VERSIONS)
async def test_an_update_that_is_read_back_as_before_is_the_last_word(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update whose read-back shows the older value was done, as the store said: the new content is what was applied."""
    await world.settle(KEYS)
    world.want(KEYS | {"a": "two"})
    at_write(monkeypatch, world, lambda: world.server.misread("a", b"1"))
    assert outcomes(await world.apply()) == {"a": "failed"}
    world.want({"b": 1, "c": 1})
    assert rows(await world.plan(writing="test")) == [("delete", "removed", "a")]
    assert is_clean(await world.apply())
    assert world.values() == {"b": "1", "c": "1"}


@kinds(WITHOUT_VERSIONS)
async def test_who_is_quicker_than_the_read_back_keeps_the_entry(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that another program makes between our write and the read-back is theirs: it is neither overwritten nor
    deleted."""
    await world.settle(KEYS)
    world.want(KEYS | {"new": "one"})
    theirs = b"theirs, of another size"
    at_write(monkeypatch, world, lambda: world.server.write("web", "new", theirs, **lives(world)))
    assert outcomes(await world.apply()) == {"new": "conflict"}
    assert refused((await world.apply()).plan.targets[0]) == [("update", "unowned", "new")]
    world.want(KEYS)
    assert outcomes(await world.apply()) == {}
    assert world.held("new") == "theirs, of another size"


@kinds(WITHOUT_VERSIONS)
async def test_an_update_that_another_writer_overtakes_is_drift(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that was ours before stays ours when another program changes it between our write and the read-back."""
    await world.settle(KEYS)
    world.want(KEYS | {"a": "two"})
    theirs = b"theirs, of another size"
    at_write(monkeypatch, world, lambda: world.server.write("web", "a", theirs, **lives(world)))
    assert outcomes(await world.apply()) == {"a": "conflict"}
    assert rows(await world.plan()) == [("update", "drifted", "a")]
    assert is_clean(await world.apply())
    assert world.held("a") == "two"


@kinds(WITHOUT_VERSIONS)
async def test_a_read_back_that_is_refused_orphans_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """When reading back fails for good, what the store said it wrote is applied; and the store is given up."""
    await world.settle(KEYS)
    world.want(KEYS | {"new": "one"})
    refusal = AuthError("the token may not read any more")
    at_write(monkeypatch, world, lambda: world.server.fail(refusal, on=["lookup"]))
    report = await world.apply()
    assert outcomes(report) == {"new": "applied"}
    assert "may not read" in (report.targets[0].error or "")
    world.want(KEYS | {"new": "two"})
    assert rows(await world.plan()) == [("update", "changed", "new")]


@kinds(WITHOUT_VERSIONS)
async def test_a_delete_that_finds_nothing_for_a_moment_forgets_nothing(world: World) -> None:
    """An entry that is to be deleted and cannot be seen right before is ours again when it is visible as it was."""
    await world.settle(WITH_LATE)
    world.want(WITHOUT_LATE)
    async with world.open() as workspace:
        plan = await workspace.plan()
        world.server.misread("late", None, times=2)
        report = await workspace.apply(plan, command="test")
    assert outcomes(report) == {"late": "unchanged"}
    assert world.held("late") == "one"
    assert rows(await world.plan()) == [("delete", "removed", "late")]
    assert is_clean(await world.apply())
    assert world.held("late") is None


@kinds(BY_LEDGER)
async def test_what_is_made_after_a_confirmed_delete_is_theirs(world: World) -> None:
    """Once the store confirmed a delete, whatever is there under the same key later, equal or not, is somebody else's."""
    await world.settle(WITH_LATE)
    world.want(WITHOUT_LATE)
    assert is_clean(await world.apply())
    world.server.write("web", "late", b"one", **lives(world))
    report = await world.apply()
    assert (outcomes(report), report.plan.targets[0].foreign) == ({}, 1)


# -- answers that are lost --------------------------------------------------------------------------------------------


Change = tuple[dict[str, Any], dict[str, Any], str]

CHANGES = {
    "create": (KEYS | {"new": "one"}, KEYS | {"new": "two"}, "new"),
    "update": (KEYS | {"a": "one"}, KEYS | {"a": "two"}, "a"),
    "create, then drop": (KEYS | {"new": "one"}, KEYS, "new"),
    "update, then drop": (KEYS | {"a": "one"}, {"b": 1, "c": 1}, "a"),
    "delete": ({"b": 1, "c": 1}, {"b": 1, "c": 1}, "a"),
}


@kinds(BY_LEDGER)
@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
async def test_a_lost_answer_orphans_nothing(world: World, monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    """A write whose answer is lost for good, so that nobody knows whether it was done, is found out about by the next pass:
    the entry is ours whatever the files ask by then."""
    await world.settle(KEYS)
    wanted, later, key = change
    world.want(wanted)
    async with world.open() as workspace:
        plan = await workspace.plan()
        at_write(monkeypatch, world, lambda: lose(world))
        report = await workspace.apply(plan, command="test")
    assert outcomes(report) == {key: "failed"}
    world.server.heal()
    world.want(later)
    await world.apply()
    assert world.values() == {name: str(value) for name, value in later.items()}
    after = await world.plan()
    assert (rows(after), refused(after)) == ([], [])


@kinds(BY_LEDGER)
async def test_a_run_with_a_lost_answer_counts_as_interrupted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal says of a run that it does not know all its outcomes, until the next pass does."""
    await world.settle(KEYS)
    world.want(KEYS | {"new": "one"})
    async with world.open() as workspace:
        plan = await workspace.plan()
        at_write(monkeypatch, world, lambda: lose(world))
        report = await workspace.apply(plan, command="test")
        run = workspace.state.journal.run(report.run or "")
        (record,) = workspace.state.journal.changes(run.id)
        assert (run.status, record.outcome) == (RunStatus.INTERRUPTED, None)
    world.server.heal()
    await world.apply()
    async with world.open() as workspace:
        (record,) = workspace.state.journal.changes(run.id)
        assert record.outcome == "applied"


# -- kills ------------------------------------------------------------------------------------------------------------


def killed(world: World, then: Callable[[], None], *, is_done: bool = True) -> None:
    """Apply in a process that is killed right after its first write, or right before; then something happens here."""
    file = world.root / "server"
    child = os.fork()
    if not child:
        change = world.server.change

        def last(*arguments: Any) -> Any:
            answer = change(*arguments) if is_done else None
            file.write_bytes(pickle.dumps((world.server.held, world.server.ledgers, world.server._versions)))
            os.kill(os.getpid(), signal.SIGKILL)
            return answer

        setattr(world.server, "change", last)  # noqa: B010 - an instance may have a method of its own
        asyncio.run(world.apply())
        os._exit(0)
    os.waitpid(child, 0)
    world.server.held, world.server.ledgers, world.server._versions = pickle.loads(file.read_bytes())
    then()


@kinds(BY_LEDGER)
@pytest.mark.parametrize("shown", [None, b"older"])
def test_a_kill_and_a_bad_read_orphan_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, shown: bytes | None
) -> None:
    """Killed between the write and the ledger, and the first look at the entry afterwards is wrong: it is ours all the same."""
    world = World(tmp_path, monkeypatch, kind, FREE_HAND)
    asyncio.run(world.settle(KEYS))
    world.want(KEYS | {"new": "one"})
    killed(world, lambda: world.server.misread("new", shown))
    world.want(KEYS)
    for _ in range(2):
        asyncio.run(world.apply())
    assert world.values() == {"a": "1", "b": "1", "c": "1"}


@kinds(BY_LEDGER)
def test_a_kill_before_a_delete_forgets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Killed right before a delete, and the entry cannot be seen for a moment afterwards: it is ours all the same, and
    deleted."""
    world = World(tmp_path, monkeypatch, kind, FREE_HAND)
    asyncio.run(world.settle(WITH_LATE))
    world.want(WITHOUT_LATE)
    killed(world, lambda: world.server.misread("late", None), is_done=False)
    assert world.held("late") == "one"
    for _ in range(2):
        asyncio.run(world.apply())
    assert world.held("late") is None


@pytest.mark.parametrize("is_done", [True, False])
def test_a_kill_around_an_end_makes_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, is_done: bool
) -> None:
    """Killed around the delete of an entry whose life is over, the next pass ends it, and does not make it again."""
    world = World(tmp_path, monkeypatch, kind, FREE_HAND)
    asyncio.run(world.settle(KEYS | {"once": "{value: x, ttl: 1h, renew_before: 0s}"}))
    world.clock.advance(3601)
    killed(world, lambda: None, is_done=is_done)
    for _ in range(2):
        asyncio.run(world.apply())
        assert world.held("once") is None


# -- older knowledge --------------------------------------------------------------------------------------------------


@kinds(BY_LEDGER)
async def test_an_older_state_directory_deletes_nothing_of_others(world: World) -> None:
    """Restored from a backup that is older than a removal, the state directory names an entry that somebody else has made
    since: it is not deleted, and the plan says why."""
    await world.settle(WITH_LATE)
    directory, backup = world.root / ".kvsync", world.root / "backup"
    shutil.copytree(directory, backup)
    world.want(WITHOUT_LATE)
    assert is_clean(await world.apply())
    world.server.write("web", "late", b"theirs", **lives(world))
    shutil.rmtree(directory)
    shutil.copytree(backup, directory)
    plan = await world.plan(writing="test")
    assert rows(plan) == []
    if not KINDS[world.kind].keeps_ledger:  # there the store's ledger knows better: it is foreign
        assert refused(plan) == [("delete", "unowned", "late")]
        assert "not what kvsync wrote" in plan.refused[0].reason
    await world.apply()
    assert world.held("late") == "theirs"


@kinds(BY_LEDGER)
async def test_an_older_content_that_comes_back_is_drift(world: World) -> None:
    """An earlier value of ours that somebody restores is drift, and healed; once the files do not want the entry, it is not
    deleted, for what is there is not what kvsync wrote last."""
    await world.settle(KEYS)
    world.want(KEYS | {"a": "newer text"})
    assert is_clean(await world.apply())
    world.server.write("web", "a", b"1", **lives(world))
    assert [row[0::2] for row in rows(await world.plan())] == [("update", "a")]
    world.want({"b": 1, "c": 1})
    plan = await world.plan()
    assert (rows(plan), refused(plan)) == ([], [("delete", "unowned", "a")])


@kinds(BY_LEDGER)
async def test_a_copy_of_an_entry_is_foreign(world: World) -> None:
    """A copy of one of our entries under another key is nobody's business: not deleted, not overwritten."""
    await world.settle(KEYS)
    world.server.write("web", "copy", b"1", **lives(world))
    report = await world.apply()
    assert (outcomes(report), report.plan.targets[0].foreign) == ({}, 1)
    world.want(KEYS | {"copy": 2})
    assert refused((await world.apply()).plan.targets[0]) == [("update", "unowned", "copy")]
    assert world.held("copy") == "1"


def test_all_of_these_stores_have_no_room_for_marks() -> None:
    """The kinds that are tried here are all whose marks are in the ledger."""
    assert set(WITHOUT_VERSIONS) < set(BY_LEDGER)
    assert BucketStore.capabilities.type in WITHOUT_VERSIONS
