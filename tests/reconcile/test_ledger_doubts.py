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
from tests.support.memory_repository import MemoryRepository, is_clean, outcomes, refused, rows
from tests.support.stores import KINDS, BucketStore

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
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch, kind, FREE_HAND)


KEYS: dict[str, Any] = {"a": 1, "b": 1, "c": 1}
WITHOUT_LATE = KEYS
WITH_LATE = KEYS | {"late": "one"}


def lives(repo: MemoryRepository) -> dict[str, Any]:
    """What an entry that another program writes needs, where everything ends."""
    return {"expires_at": repo.clock.now() + 30 * DAY} if KINDS[repo.kind].capabilities.always_expires else {}


def at_write(patch: pytest.MonkeyPatch, repo: MemoryRepository, then: Callable[[], None]) -> None:
    """Do something right after the store has done its next write, before anybody can read it back."""
    store = KINDS[repo.kind]
    write = store.write

    async def interrupted(self: Any, namespace: str, writes: Any) -> Any:
        patch.setattr(store, "write", write)
        results = await write(self, namespace, writes)
        then()
        return results

    patch.setattr(store, "write", interrupted)


def lose(repo: MemoryRepository) -> None:
    """Lose the answer to what was just written, and let nothing be read for a while."""
    repo.server.fail(TransientError("reset"), times=50, on=["lookup", "ledger"])
    raise LostAnswer("the connection broke before the answer came")


# -- listings ---------------------------------------------------------------------------------------------------------


@kinds(BY_LEDGER)
@pytest.mark.parametrize("wish", ["removed", "changed"])
async def test_a_late_listing_forgets_nothing(repo: MemoryRepository, wish: str) -> None:
    """A listing that is late just when an entry leaves the files does not show it: once it does, the entry is still ours, to
    delete and to change."""
    await repo.settle(WITHOUT_LATE)
    repo.server.list_late(30)
    repo.want(WITH_LATE)
    assert is_clean(await repo.apply())
    repo.want(WITHOUT_LATE)
    assert rows((await repo.apply()).plan.targets[0]) == []
    repo.server.list_late(0)
    if wish == "changed":
        repo.want(KEYS | {"late": "two"})
        assert rows(await repo.plan()) == [("update", "changed", "late")]
        assert is_clean(await repo.apply())
        assert repo.held("late") == "two"
    else:
        assert rows(await repo.plan()) == [("delete", "removed", "late")]
        assert is_clean(await repo.apply())
        assert repo.held("late") is None
    assert rows(await repo.plan()) == []


async def out_of_sight(repo: MemoryRepository) -> None:
    """Let an entry of ours leave the files and the listing at the same time, so that the ledger keeps it in mind."""
    await repo.settle(WITH_LATE)
    repo.server.delete("web", "late")
    repo.want(WITHOUT_LATE)
    assert rows((await repo.apply()).plan.targets[0]) == []


@kinds(BY_LEDGER)
@pytest.mark.parametrize("value", [b"theirs", b"two", b"o n e"])
async def test_what_others_make_of_an_entry_out_of_sight_is_theirs(repo: MemoryRepository, value: bytes) -> None:
    """What becomes visible with other content, of whatever size, was made by someone else: it is neither deleted nor
    overwritten, and counted as foreign."""
    await out_of_sight(repo)
    repo.server.write("web", "late", value, **lives(repo))
    report = await repo.apply()
    assert (outcomes(report), report.plan.targets[0].foreign) == ({}, 1)
    for wish in ("one", "mine"):
        repo.want(KEYS | {"late": wish})
        assert refused((await repo.apply()).plan.targets[0]) == [("update", "unowned", "late")]
    assert repo.held("late") == value.decode()


@kinds(WITHOUT_VERSIONS)
async def test_an_entry_out_of_sight_that_others_made_is_written_as_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """With `adopt: always` it is overwritten as any other that was never ours; and if its maker is quicker than the
    read-back, it is theirs again."""
    repo = MemoryRepository(tmp_path, monkeypatch, kind, FREE_HAND.replace("never", "always"))
    await out_of_sight(repo)
    repo.server.write("web", "late", b"theirs", **lives(repo))
    repo.want(KEYS | {"late": "mine"})
    assert rows(await repo.plan()) == [("update", "unowned", "late")]
    at_write(monkeypatch, repo, lambda: repo.server.write("web", "late", b"theirs again", **lives(repo)))
    assert outcomes(await repo.apply()) == {"late": "conflict"}
    assert rows(await repo.plan()) == [("update", "unowned", "late")]
    repo.want(KEYS)
    assert outcomes(await repo.apply()) == {}
    assert repo.held("late") == "theirs again"


@kinds(BY_LEDGER)
async def test_an_entry_that_is_visible_again_is_known_again(repo: MemoryRepository) -> None:
    """Once an entry that was out of sight is found as it was, it is like any other: its loss and its change are drift."""
    await out_of_sight(repo)
    repo.server.write("web", "late", b"one", **lives(repo))
    repo.want(WITH_LATE)
    report = await repo.apply()
    changes = rows(report.plan.targets[0])
    assert changes in ([], [("renew", "expiring", "late")])  # where everything ends, others give it another life
    assert rows(await repo.plan()) == []
    repo.server.calls.clear()
    await repo.plan()
    assert "lookup" not in {call.method for call in repo.server.calls} or repo.kind == "memory-plain-bucket"
    repo.edit("late", "other text")
    assert [row[:2] for row in rows(await repo.plan())] == [("update", "drifted")]


@kinds(BY_LEDGER)
async def test_an_entry_is_not_kept_in_mind_for_longer_than_a_quarter(repo: MemoryRepository) -> None:
    """After 90 days out of sight an entry is forgotten: the ledger does not grow with everything that ever was."""
    await out_of_sight(repo)
    for days, is_known in ((60, True), (31, False), (1, False)):
        repo.clock.advance(days * DAY)
        if not KINDS[repo.kind].capabilities.always_expires:
            await repo.apply()
            assert ("late" in await known(repo)) is is_known


async def known(repo: MemoryRepository) -> set[str]:
    """The keys in the ledger of the state directory."""
    from tests.support.machines import WEB

    async with repo.open(writing=None) as workspace:
        subject = await workspace.locate(WEB)
        return {identity.key for identity in workspace.state.ledger.all(subject.key)}


async def test_an_entry_that_the_store_ended_is_not_kept_in_mind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store itself ends entries, one whose life is over cannot become visible again."""
    repo = MemoryRepository(tmp_path, monkeypatch, "memory-mortal", FREE_HAND)
    await repo.settle(WITH_LATE)
    repo.clock.advance(30 * DAY)
    repo.server.delete("web", "late")
    repo.want(WITHOUT_LATE)
    for days, is_known in ((0, True), (59, True), (2, False)):
        repo.clock.advance(days * DAY)
        await repo.apply()
        assert ("late" in await known(repo)) is is_known


@pytest.mark.parametrize("lacks", ["late", "a"])
async def test_a_deep_view_costs_no_listing_for_what_is_out_of_sight(repo: MemoryRepository, lacks: str) -> None:
    """A deep view that lacks an entry of ours is held against a listing, unless the entry is out of sight anyway."""
    await out_of_sight(repo)
    if lacks == "a":
        repo.server.delete("web", "a")
    repo.server.calls.clear()
    await repo.plan(PassOptions(deep=True))
    assert repo.server.count("listing") == (2 if lacks == "a" else 1)


# -- single entries ---------------------------------------------------------------------------------------------------


@kinds(WITHOUT_VERSIONS)
@pytest.mark.parametrize("shown", [None, b"older"])
async def test_a_bad_read_back_orphans_nothing(
    repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch, shown: bytes | None
) -> None:
    """A created entry that one read right after the write does not show, or not as it was written, is ours all the same: to
    change and to delete."""
    await repo.settle(KEYS)
    repo.want(KEYS | {"new": "one"})
    at_write(monkeypatch, repo, lambda: repo.server.misread("new", shown))
    assert outcomes(await repo.apply()) == {"new": "unknown" if shown is None else "conflict"}
    repo.want(KEYS | {"new": "two"})
    assert rows(await repo.plan(writing="test")) == [("update", "changed", "new")]
    assert is_clean(await repo.apply())
    assert repo.held("new") == "two"
    repo.want(KEYS)
    assert is_clean(await repo.apply())
    assert repo.held("new") is None


@kinds(WITHOUT_VERSIONS)
async def test_an_update_that_is_read_back_as_before_is_the_last_word(
    repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update whose read-back shows the older value was done, as the store said: the new content is what was applied."""
    await repo.settle(KEYS)
    repo.want(KEYS | {"a": "two"})
    at_write(monkeypatch, repo, lambda: repo.server.misread("a", b"1"))
    assert outcomes(await repo.apply()) == {"a": "unknown"}
    repo.want({"b": 1, "c": 1})
    assert rows(await repo.plan(writing="test")) == [("delete", "removed", "a")]
    assert is_clean(await repo.apply())
    assert repo.values() == {"b": "1", "c": "1"}


@kinds(WITHOUT_VERSIONS)
async def test_who_is_quicker_than_the_read_back_keeps_the_entry(
    repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry that another program makes between our write and the read-back is theirs: it is neither overwritten nor
    deleted."""
    await repo.settle(KEYS)
    repo.want(KEYS | {"new": "one"})
    theirs = b"theirs, of another size"
    at_write(monkeypatch, repo, lambda: repo.server.write("web", "new", theirs, **lives(repo)))
    assert outcomes(await repo.apply()) == {"new": "conflict"}
    assert refused((await repo.apply()).plan.targets[0]) == [("update", "unowned", "new")]
    repo.want(KEYS)
    assert outcomes(await repo.apply()) == {}
    assert repo.held("new") == "theirs, of another size"


@kinds(WITHOUT_VERSIONS)
async def test_an_update_that_another_writer_overtakes_is_drift(
    repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry that was ours before stays ours when another program changes it between our write and the read-back."""
    await repo.settle(KEYS)
    repo.want(KEYS | {"a": "two"})
    theirs = b"theirs, of another size"
    at_write(monkeypatch, repo, lambda: repo.server.write("web", "a", theirs, **lives(repo)))
    assert outcomes(await repo.apply()) == {"a": "conflict"}
    assert rows(await repo.plan()) == [("update", "drifted", "a")]
    assert is_clean(await repo.apply())
    assert repo.held("a") == "two"


@kinds(WITHOUT_VERSIONS)
async def test_a_read_back_that_is_refused_orphans_nothing(
    repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When reading back fails for good, what the store said it wrote is applied; and the store is given up."""
    await repo.settle(KEYS)
    repo.want(KEYS | {"new": "one"})
    refusal = AuthError("the token may not read any more")
    at_write(monkeypatch, repo, lambda: repo.server.fail(refusal, on=["lookup"]))
    report = await repo.apply()
    assert outcomes(report) == {"new": "applied"}
    assert "may not read" in (report.targets[0].error or "")
    repo.want(KEYS | {"new": "two"})
    assert rows(await repo.plan()) == [("update", "changed", "new")]


@kinds(WITHOUT_VERSIONS)
async def test_a_delete_that_finds_nothing_for_a_moment_forgets_nothing(repo: MemoryRepository) -> None:
    """An entry that is to be deleted and cannot be seen right before is ours again when it is visible as it was."""
    await repo.settle(WITH_LATE)
    repo.want(WITHOUT_LATE)
    async with repo.open() as workspace:
        plan = await workspace.plan()
        repo.server.misread("late", None, times=2)
        report = await workspace.apply(plan, command="test")
    assert outcomes(report) == {"late": "unchanged"}
    assert repo.held("late") == "one"
    assert rows(await repo.plan()) == [("delete", "removed", "late")]
    assert is_clean(await repo.apply())
    assert repo.held("late") is None


@kinds(BY_LEDGER)
async def test_what_is_made_after_a_confirmed_delete_is_theirs(repo: MemoryRepository) -> None:
    """Once the store confirmed a delete, whatever is there under the same key later, equal or not, is someone else's."""
    await repo.settle(WITH_LATE)
    repo.want(WITHOUT_LATE)
    assert is_clean(await repo.apply())
    repo.server.write("web", "late", b"one", **lives(repo))
    report = await repo.apply()
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
async def test_a_lost_answer_orphans_nothing(
    repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    """A write whose answer is lost for good, so that nobody knows whether it was done, is found out about by the next pass:
    the entry is ours whatever the files ask by then."""
    await repo.settle(KEYS)
    wanted, later, key = change
    repo.want(wanted)
    async with repo.open() as workspace:
        plan = await workspace.plan()
        at_write(monkeypatch, repo, lambda: lose(repo))
        report = await workspace.apply(plan, command="test")
    assert outcomes(report) == {key: "unknown"}
    repo.server.heal()
    repo.want(later)
    await repo.apply()
    assert repo.values() == {name: str(value) for name, value in later.items()}
    after = await repo.plan()
    assert (rows(after), refused(after)) == ([], [])


@kinds(BY_LEDGER)
async def test_a_run_with_a_lost_answer_counts_as_interrupted(
    repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal says of a run that it does not know all its outcomes, until the next pass does."""
    await repo.settle(KEYS)
    repo.want(KEYS | {"new": "one"})
    async with repo.open() as workspace:
        plan = await workspace.plan()
        at_write(monkeypatch, repo, lambda: lose(repo))
        report = await workspace.apply(plan, command="test")
        run = workspace.state.journal.run(report.run or "")
        (record,) = workspace.state.journal.changes(run.id)
        assert (run.status, record.outcome) == (RunStatus.INTERRUPTED, None)
    repo.server.heal()
    await repo.apply()
    async with repo.open() as workspace:
        (record,) = workspace.state.journal.changes(run.id)
        assert record.outcome == "applied"


# -- kills ------------------------------------------------------------------------------------------------------------


def killed(repo: MemoryRepository, then: Callable[[], None], *, is_done: bool = True) -> None:
    """Apply in a process that is killed right after its first write, or right before; then something happens here."""
    file = repo.root / "server"
    child = os.fork()
    if not child:
        change = repo.server.change

        def last(*arguments: Any) -> Any:
            answer = change(*arguments) if is_done else None
            file.write_bytes(pickle.dumps((repo.server.held, repo.server.ledgers, repo.server._versions)))
            os.kill(os.getpid(), signal.SIGKILL)
            return answer

        setattr(repo.server, "change", last)  # noqa: B010 - an instance may have a method of its own
        asyncio.run(repo.apply())
        os._exit(0)
    os.waitpid(child, 0)
    repo.server.held, repo.server.ledgers, repo.server._versions = pickle.loads(file.read_bytes())
    then()


@kinds(BY_LEDGER)
@pytest.mark.parametrize("shown", [None, b"older"])
def test_a_kill_and_a_bad_read_orphan_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, shown: bytes | None
) -> None:
    """Killed between the write and the ledger, and the first look at the entry afterwards is wrong: it is ours all the same."""
    repo = MemoryRepository(tmp_path, monkeypatch, kind, FREE_HAND)
    asyncio.run(repo.settle(KEYS))
    repo.want(KEYS | {"new": "one"})
    killed(repo, lambda: repo.server.misread("new", shown))
    repo.want(KEYS)
    for _ in range(2):
        asyncio.run(repo.apply())
    assert repo.values() == {"a": "1", "b": "1", "c": "1"}


@kinds(BY_LEDGER)
def test_a_kill_before_a_delete_forgets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Killed right before a delete, and the entry cannot be seen for a moment afterwards: it is ours all the same, and
    deleted."""
    repo = MemoryRepository(tmp_path, monkeypatch, kind, FREE_HAND)
    asyncio.run(repo.settle(WITH_LATE))
    repo.want(WITHOUT_LATE)
    killed(repo, lambda: repo.server.misread("late", None), is_done=False)
    assert repo.held("late") == "one"
    for _ in range(2):
        asyncio.run(repo.apply())
    assert repo.held("late") is None


@pytest.mark.parametrize("is_done", [True, False])
def test_a_kill_around_an_end_makes_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, is_done: bool
) -> None:
    """Killed around the delete of an entry whose life is over, the next pass ends it, and does not make it again."""
    repo = MemoryRepository(tmp_path, monkeypatch, kind, FREE_HAND)
    asyncio.run(repo.settle(KEYS | {"once": "{value: x, ttl: 1h, renew_before: 0s}"}))
    repo.clock.advance(3601)
    killed(repo, lambda: None, is_done=is_done)
    for _ in range(2):
        asyncio.run(repo.apply())
        assert repo.held("once") is None


# -- older knowledge --------------------------------------------------------------------------------------------------


@kinds(BY_LEDGER)
async def test_an_older_state_directory_deletes_nothing_of_others(repo: MemoryRepository) -> None:
    """Restored from a backup that is older than a removal, the state directory names an entry that someone else has made
    since: it is not deleted, and the plan says why."""
    await repo.settle(WITH_LATE)
    directory, backup = repo.root / ".kvsync", repo.root / "backup"
    shutil.copytree(directory, backup)
    repo.want(WITHOUT_LATE)
    assert is_clean(await repo.apply())
    repo.server.write("web", "late", b"theirs", **lives(repo))
    shutil.rmtree(directory)
    shutil.copytree(backup, directory)
    plan = await repo.plan(writing="test")
    assert rows(plan) == []
    if not KINDS[repo.kind].keeps_ledger:  # there the store's ledger knows better: it is foreign
        assert refused(plan) == [("delete", "unowned", "late")]
        assert "not what kvsync wrote" in plan.refused[0].reason
    await repo.apply()
    assert repo.held("late") == "theirs"


@kinds(BY_LEDGER)
async def test_an_older_content_that_comes_back_is_drift(repo: MemoryRepository) -> None:
    """An earlier value of ours that someone restores is drift, and healed; once the files do not want the entry, it is not
    deleted, for what is there is not what kvsync wrote last."""
    await repo.settle(KEYS)
    repo.want(KEYS | {"a": "newer text"})
    assert is_clean(await repo.apply())
    repo.server.write("web", "a", b"1", **lives(repo))
    assert [row[0::2] for row in rows(await repo.plan())] == [("update", "a")]
    repo.want({"b": 1, "c": 1})
    plan = await repo.plan()
    assert (rows(plan), refused(plan)) == ([], [("delete", "unowned", "a")])


@kinds(BY_LEDGER)
async def test_a_copy_of_an_entry_is_foreign(repo: MemoryRepository) -> None:
    """A copy of one of our entries under another key is nobody's business: not deleted, not overwritten."""
    await repo.settle(KEYS)
    repo.server.write("web", "copy", b"1", **lives(repo))
    report = await repo.apply()
    assert (outcomes(report), report.plan.targets[0].foreign) == ({}, 1)
    repo.want(KEYS | {"copy": 2})
    assert refused((await repo.apply()).plan.targets[0]) == [("update", "unowned", "copy")]
    assert repo.held("copy") == "1"


def test_all_of_these_stores_have_no_room_for_marks() -> None:
    """The kinds that are tried here are all whose marks are in the ledger."""
    assert set(WITHOUT_VERSIONS) < set(BY_LEDGER)
    assert BucketStore.capabilities.type in WITHOUT_VERSIONS
