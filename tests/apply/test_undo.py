from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from kvsync.apply.model import ApplyReport
from kvsync.apply.undo import undo
from kvsync.errors import LostAnswer
from kvsync.model.capabilities import Lifetimes, Marks
from kvsync.model.change import Action
from kvsync.model.entry import Content, Identity
from kvsync.stores.base import Write, WriteResult, WriteStatus
from kvsync.stores.memory.backend import RemoteKey
from tests.apply.harness import OWNER, ApplyHarness, entry, kinds, writes_of

Make = Callable[..., ApplyHarness]

STORES: list[dict[str, Any]] = [
    {},
    {"values_in_listing": False},
    {"compare_and_set": False},
    {"compare_and_set": False, "marks": Marks.LEDGER, "lifetimes": Lifetimes.EMULATED, "batch": 1},
]


async def take_back(harness: ApplyHarness, run_id: str | None = None) -> ApplyReport:
    records = harness.state.journal.changes(run_id or harness.run_id)
    return await undo(harness.applier(), records, {}, harness.clock.now())


def everything(harness: ApplyHarness) -> dict[str, object]:
    """What is held, versions aside."""
    return {slot.key: replace(held, version=0) for slot, held in harness.server.held["web"].items()}


@pytest.mark.parametrize("capabilities", STORES, ids=str)
async def test_a_run_that_was_taken_back_never_happened(make: Make, capabilities: dict[str, Any]) -> None:
    """After create, update, adopt and delete, undo brings back values, marks and lifetimes exactly; newest first."""
    harness = make(**capabilities)
    await harness.settle(entry("changed", "1"), entry("gone", "x"))
    harness.server.write("web", "adopted", Content(b"v"))
    before = everything(harness)
    harness.want(entry("adopted"), entry("changed", "2"), entry("new"))
    report = await harness.apply()
    assert len(report.outcomes) == 4
    assert everything(harness) != before
    report = await take_back(harness)
    assert set(kinds(report).values()) == {"applied"}
    assert everything(harness) == before


async def test_undo_of_a_renewal_brings_back_the_old_lifetime(harness: ApplyHarness) -> None:
    """A renewed entry gets the end it had."""
    await harness.settle(entry("k", ttl=1000))
    before = everything(harness)
    harness.clock.advance(900)
    await harness.apply()
    assert everything(harness) != before
    assert kinds(await take_back(harness)) == {"k": "applied"}
    assert everything(harness) == before


async def test_an_undo_can_be_taken_back(harness: ApplyHarness) -> None:
    """Undo is a journalled run like any other."""
    await harness.settle(entry("changed", "1"), entry("gone"))
    harness.want(entry("changed", "2"), entry("new"))
    await harness.apply()
    after = everything(harness)
    await take_back(harness)
    undo_run = harness.run_id
    assert kinds(await take_back(harness, undo_run)) == dict.fromkeys(("changed", "gone", "new"), "applied")
    assert everything(harness) == after


@pytest.mark.parametrize("capabilities", STORES, ids=str)
async def test_what_changed_since_is_stale(make: Make, capabilities: dict[str, Any]) -> None:
    """Entries that are no longer as kvsync wrote them keep what they are now; the others are restored."""
    harness = make(**capabilities)
    await harness.settle(entry("changed", "1"), entry("gone"), entry("mine", "1"))
    harness.want(entry("changed", "2"), entry("mine", "2"), entry("new"))
    await harness.apply()
    for key in ("changed", "gone", "new"):
        harness.server.write("web", key, b"theirs")
    report = await take_back(harness)
    assert kinds(report) == {"changed": "stale", "gone": "stale", "new": "stale", "mine": "applied"}
    assert all("changed since kvsync wrote it" in str(one.error) for one in report.outcomes if one.kind == "stale")
    assert [harness.held(key) for key in ("changed", "gone", "new", "mine")] == [b"theirs"] * 3 + [b"1"]


async def test_a_writer_who_is_faster_than_undo_wins(harness: ApplyHarness) -> None:
    """An entry that moves between undo's read and its write is stale, and is not planned again by the files."""
    await harness.settle(entry("k", "1"))
    harness.want(entry("k", "2"))
    await harness.apply()
    harness.server.before_change(lambda: harness.server.write("web", "k", b"theirs"))
    assert kinds(await take_back(harness)) == {"k": "stale"}
    assert harness.held("k") == b"theirs"
    assert harness.replanned == []


async def test_a_sensitive_value_cannot_be_brought_back_and_undo_says_so(harness: ApplyHarness) -> None:
    """The journal keeps no sensitive value, so its change or delete is refused with the reason; a create needs none."""
    await harness.settle(entry("changed", "s1", sensitive=True), entry("gone", "s2", sensitive=True))
    harness.want(entry("changed", "s3", sensitive=True), entry("new", "s4", sensitive=True))
    await harness.apply()
    report = await take_back(harness)
    assert kinds(report) == {"changed": "refused", "gone": "refused", "new": "applied"}
    assert all("sensitive" in str(one.error) for one in report.outcomes if one.kind == "refused")
    assert harness.held("new") is None


@pytest.mark.parametrize("capabilities", STORES, ids=str)
async def test_undo_leaves_no_secret_in_the_journal(make: Make, capabilities: dict[str, Any]) -> None:
    """Deleting a sensitive entry again records no value, even where the store holds no mark that says that it is sensitive."""
    harness = make(**capabilities)
    harness.want(entry("new", "hunter2", sensitive=True))
    await harness.apply()
    assert kinds(await take_back(harness)) == {"new": "applied"}
    files = [one.read_bytes() for one in harness.path.rglob("*") if one.is_file()]
    assert not any(b"hunter2" in content for content in files)


async def test_undoing_twice_changes_nothing_more(harness: ApplyHarness) -> None:
    """What is already as it was before needs nothing."""
    await harness.settle(entry("changed", "1"), entry("gone"))
    before = everything(harness)
    harness.want(entry("changed", "2"), entry("new"))
    await harness.apply()
    run_id = harness.run_id
    await take_back(harness, run_id)
    harness.server.calls.clear()
    report = await take_back(harness, run_id)
    assert set(kinds(report).values()) == {"unchanged"}
    assert writes_of(harness.server) == []
    assert everything(harness) == before


async def test_what_was_never_written_is_not_taken_back(harness: ApplyHarness) -> None:
    """Failed and conflicting changes did nothing, so there is nothing to undo."""
    await harness.settle(entry("conflict", "1"), entry("failed", "1"))
    harness.want(entry("conflict", "2"), entry("failed", "2"))
    changes = await harness.plan()
    harness.server.write("web", "conflict", b"theirs")
    harness.server.fail_entry("failed", WriteStatus.REJECTED)
    assert kinds(await harness.apply(changes)) == {"conflict": "conflict", "failed": "failed"}
    harness.server.heal()
    assert (await take_back(harness)).outcomes == ()
    assert [harness.held("conflict"), harness.held("failed")] == [b"theirs", b"1"]


async def test_a_write_whose_outcome_was_never_recorded_is_found_and_taken_back(
    harness: ApplyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was cut off between write and record is undone by what the store holds."""
    await harness.settle(entry("k", "1"))
    harness.want(entry("k", "2"), entry("l"))
    changes = await harness.plan()
    write = harness.store.write

    class Cut(BaseException):
        pass

    async def cut_off(namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        await write(namespace, writes)
        raise Cut

    monkeypatch.setattr(harness.store, "write", cut_off)
    with pytest.raises(Cut):
        await harness.apply(changes)
    monkeypatch.undo()
    assert harness.journal() == {"k": None, "l": None}
    assert kinds(await take_back(harness)) == {"k": "applied", "l": "applied"}
    assert (harness.held("k"), harness.held("l")) == (b"1", None)


async def test_what_would_expire_at_once_is_not_brought_back(harness: ApplyHarness) -> None:
    """An entry whose lifetime ended meanwhile is skipped."""
    end = int(harness.clock.now()) + 100
    await harness.settle(entry("k", "1", expires_at=end))
    harness.want(entry("k", "2"))
    await harness.apply()
    harness.clock.advance(200)
    assert kinds(await take_back(harness)) == {"k": "skipped"}
    assert harness.held("k") == b"2"


async def test_the_ledger_follows(harness: ApplyHarness) -> None:
    """After undo the ledger says what is ours again, and forgets what never was."""
    await harness.settle(entry("changed", "1"))
    harness.server.write("web", "adopted", b"v")
    harness.want(entry("adopted"), entry("changed", "2"), entry("new"))
    await harness.apply()
    await take_back(harness)
    ledger = harness.ledger()
    assert list(ledger) == [Identity("changed")]
    assert ledger[Identity("changed")].matches(entry("changed", "1").fingerprint)
    assert ledger[Identity("changed")].mark.owner == OWNER
    harness.want(entry("changed", "1"))
    assert await harness.plan() == []


async def test_a_lost_answer_during_undo_is_looked_into(harness: ApplyHarness) -> None:
    """Undo goes through the same machinery: a lost answer is read back."""
    await harness.settle(entry("k", "1"))
    harness.want(entry("k", "2"))
    await harness.apply()
    harness.server.calls.clear()
    harness.server.lose_answers()
    assert kinds(await take_back(harness)) == {"k": "applied"}
    assert len(writes_of(harness.server)) == 1
    assert harness.held("k") == b"1"
    harness.want(entry("k", "2"))
    await harness.apply()
    harness.server.fail(LostAnswer("no answer"), on=["change"])
    assert kinds(await take_back(harness)) == {"k": "applied"}
    assert harness.held("k") == b"1"


async def test_undo_says_what_it_does(harness: ApplyHarness) -> None:
    """The outcomes name the inverse action: a create is undone by a delete, and the other way round."""
    await harness.settle(entry("changed", "1"), entry("gone"))
    harness.want(entry("changed", "2"), entry("new"))
    await harness.apply()
    report = await take_back(harness)
    actions = {one.identity.key: one.action for one in report.outcomes}
    assert actions == {"changed": Action.UPDATE, "gone": Action.CREATE, "new": Action.DELETE}
    assert RemoteKey("new") not in harness.server.held["web"]
