from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from kvsync.apply.invert import undo
from kvsync.apply.model import ApplyReport
from kvsync.errors import LostAnswer
from kvsync.model.capabilities import Lifetimes, Marks
from kvsync.model.entry import Action, Content, Identity
from kvsync.stores.base import Write, WriteResult, WriteStatus
from kvsync.stores.memory.backend import RemoteKey
from tests.apply.bench import OWNER, Bench, entry, kinds, writes_of

Make = Callable[..., Bench]

STORES: list[dict[str, Any]] = [
    {},
    {"values_in_listing": False},
    {"compare_and_set": False},
    {"compare_and_set": False, "marks": Marks.LEDGER, "lifetimes": Lifetimes.EMULATED, "batch": 1},
]


async def take_back(bench: Bench, run_id: str | None = None) -> ApplyReport:
    records = bench.state.journal.changes(run_id or bench.run_id)
    return await undo(bench.applier(), records, bench.clock.now())


def everything(bench: Bench) -> dict[str, object]:
    """What is held, versions aside."""
    return {slot.key: replace(held, version=0) for slot, held in bench.server.held["web"].items()}


@pytest.mark.parametrize("capabilities", STORES, ids=str)
async def test_a_run_that_was_taken_back_never_happened(make: Make, capabilities: dict[str, Any]) -> None:
    """After create, update, adopt and delete, undo brings back values, marks and lifetimes exactly; newest first."""
    bench = make(**capabilities)
    await bench.settle(entry("changed", "1"), entry("gone", "x"))
    bench.server.write("web", "adopted", Content(b"v"))
    before = everything(bench)
    bench.want(entry("adopted"), entry("changed", "2"), entry("new"))
    report = await bench.apply()
    assert len(report.outcomes) == 4
    assert everything(bench) != before
    report = await take_back(bench)
    assert set(kinds(report).values()) == {"applied"}
    assert everything(bench) == before


async def test_undo_of_a_renewal_brings_back_the_old_lifetime(bench: Bench) -> None:
    """A renewed entry gets the end it had."""
    await bench.settle(entry("k", ttl=1000))
    before = everything(bench)
    bench.clock.advance(900)
    await bench.apply()
    assert everything(bench) != before
    assert kinds(await take_back(bench)) == {"k": "applied"}
    assert everything(bench) == before


async def test_an_undo_can_be_taken_back(bench: Bench) -> None:
    """Undo is a journalled run like any other."""
    await bench.settle(entry("changed", "1"), entry("gone"))
    bench.want(entry("changed", "2"), entry("new"))
    await bench.apply()
    after = everything(bench)
    await take_back(bench)
    undo_run = bench.run_id
    assert kinds(await take_back(bench, undo_run)) == dict.fromkeys(("changed", "gone", "new"), "applied")
    assert everything(bench) == after


@pytest.mark.parametrize("capabilities", STORES, ids=str)
async def test_what_changed_since_is_stale(make: Make, capabilities: dict[str, Any]) -> None:
    """Entries that are no longer as kvsync wrote them keep what they are now; the others are restored."""
    bench = make(**capabilities)
    await bench.settle(entry("changed", "1"), entry("gone"), entry("mine", "1"))
    bench.want(entry("changed", "2"), entry("mine", "2"), entry("new"))
    await bench.apply()
    for key in ("changed", "gone", "new"):
        bench.server.write("web", key, b"theirs")
    report = await take_back(bench)
    assert kinds(report) == {"changed": "stale", "gone": "stale", "new": "stale", "mine": "applied"}
    assert all("changed since kvsync wrote it" in str(one.error) for one in report.outcomes if one.kind == "stale")
    assert [bench.held(key) for key in ("changed", "gone", "new", "mine")] == [b"theirs"] * 3 + [b"1"]


async def test_a_writer_who_is_faster_than_undo_wins(bench: Bench) -> None:
    """An entry that moves between undo's read and its write is stale."""
    await bench.settle(entry("k", "1"))
    bench.want(entry("k", "2"))
    await bench.apply()
    bench.server.before_change(lambda: bench.server.write("web", "k", b"theirs"))
    assert kinds(await take_back(bench)) == {"k": "stale"}
    assert bench.held("k") == b"theirs"


async def test_a_sensitive_value_cannot_be_brought_back_and_undo_says_so(bench: Bench) -> None:
    """The journal keeps no sensitive value, so its change or delete is refused with the reason; a create needs none."""
    await bench.settle(entry("changed", "s1", sensitive=True), entry("gone", "s2", sensitive=True))
    bench.want(entry("changed", "s3", sensitive=True), entry("new", "s4", sensitive=True))
    await bench.apply()
    report = await take_back(bench)
    assert kinds(report) == {"changed": "refused", "gone": "refused", "new": "applied"}
    assert all("sensitive" in str(one.error) for one in report.outcomes if one.kind == "refused")
    assert bench.held("new") is None


@pytest.mark.parametrize("capabilities", STORES, ids=str)
async def test_undo_leaves_no_secret_in_the_journal(make: Make, capabilities: dict[str, Any]) -> None:
    """Deleting a sensitive entry again records no value, even where the store holds no mark that says that it is sensitive."""
    bench = make(**capabilities)
    bench.want(entry("new", "hunter2", sensitive=True))
    await bench.apply()
    assert kinds(await take_back(bench)) == {"new": "applied"}
    files = [one.read_bytes() for one in bench.path.rglob("*") if one.is_file()]
    assert not any(b"hunter2" in content for content in files)


async def test_undoing_twice_changes_nothing_more(bench: Bench) -> None:
    """What is already as it was before needs nothing."""
    await bench.settle(entry("changed", "1"), entry("gone"))
    before = everything(bench)
    bench.want(entry("changed", "2"), entry("new"))
    await bench.apply()
    run_id = bench.run_id
    await take_back(bench, run_id)
    bench.server.calls.clear()
    report = await take_back(bench, run_id)
    assert set(kinds(report).values()) == {"unchanged"}
    assert writes_of(bench.server) == []
    assert everything(bench) == before


async def test_what_was_never_written_is_not_taken_back(bench: Bench) -> None:
    """Failed and conflicting changes did nothing, so there is nothing to undo."""
    await bench.settle(entry("conflict", "1"), entry("failed", "1"))
    bench.want(entry("conflict", "2"), entry("failed", "2"))
    changes = await bench.plan()
    bench.server.write("web", "conflict", b"theirs")
    bench.server.fail_entry("failed", WriteStatus.REJECTED)
    assert kinds(await bench.apply(changes)) == {"conflict": "conflict", "failed": "failed"}
    bench.server.heal()
    assert (await take_back(bench)).outcomes == ()
    assert [bench.held("conflict"), bench.held("failed")] == [b"theirs", b"1"]


async def test_a_write_whose_outcome_was_never_recorded_is_found_and_taken_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was cut off between write and record is undone by what the store holds."""
    await bench.settle(entry("k", "1"))
    bench.want(entry("k", "2"), entry("l"))
    changes = await bench.plan()
    write = bench.store.write

    class Cut(BaseException):
        pass

    async def cut_off(namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        await write(namespace, writes)
        raise Cut

    monkeypatch.setattr(bench.store, "write", cut_off)
    with pytest.raises(Cut):
        await bench.apply(changes)
    monkeypatch.undo()
    assert bench.journal() == {"k": None, "l": None}
    assert kinds(await take_back(bench)) == {"k": "applied", "l": "applied"}
    assert (bench.held("k"), bench.held("l")) == (b"1", None)


async def test_what_would_expire_at_once_is_not_brought_back(bench: Bench) -> None:
    """An entry whose lifetime ended meanwhile is skipped."""
    end = int(bench.clock.now()) + 100
    await bench.settle(entry("k", "1", expires_at=end))
    bench.want(entry("k", "2"))
    await bench.apply()
    bench.clock.advance(200)
    assert kinds(await take_back(bench)) == {"k": "skipped"}
    assert bench.held("k") == b"2"


async def test_the_ledger_follows(bench: Bench) -> None:
    """After undo the ledger says what is ours again, and forgets what never was."""
    await bench.settle(entry("changed", "1"))
    bench.server.write("web", "adopted", b"v")
    bench.want(entry("adopted"), entry("changed", "2"), entry("new"))
    await bench.apply()
    await take_back(bench)
    ledger = bench.ledger()
    assert list(ledger) == [Identity("changed")]
    assert ledger[Identity("changed")].matches(entry("changed", "1").fingerprint)
    assert ledger[Identity("changed")].mark.owner == OWNER
    bench.want(entry("changed", "1"))
    assert await bench.plan() == []


async def test_a_lost_answer_during_undo_is_looked_into(bench: Bench) -> None:
    """Undo goes through the same machinery: a lost answer is read back."""
    await bench.settle(entry("k", "1"))
    bench.want(entry("k", "2"))
    await bench.apply()
    bench.server.calls.clear()
    bench.server.lose_answers()
    assert kinds(await take_back(bench)) == {"k": "applied"}
    assert len(writes_of(bench.server)) == 1
    assert bench.held("k") == b"1"
    bench.want(entry("k", "2"))
    await bench.apply()
    bench.server.fail(LostAnswer("no answer"), on=["change"])
    assert kinds(await take_back(bench)) == {"k": "applied"}
    assert bench.held("k") == b"1"


async def test_undo_says_what_it_does(bench: Bench) -> None:
    """The outcomes name the inverse action: a create is undone by a delete, and the other way round."""
    await bench.settle(entry("changed", "1"), entry("gone"))
    bench.want(entry("changed", "2"), entry("new"))
    await bench.apply()
    report = await take_back(bench)
    actions = {one.identity.key: one.action for one in report.outcomes}
    assert actions == {"changed": Action.UPDATE, "gone": Action.CREATE, "new": Action.DELETE}
    assert RemoteKey("new") not in bench.server.held["web"]
