from __future__ import annotations

from collections.abc import Callable

import pytest

from kvsync.apply.replanning import MOST_TRIES
from kvsync.model.change import OutcomeKind
from kvsync.model.entry import Content
from kvsync.stores.memory.backend import RemoteKey
from tests.apply.harness import ApplyHarness, entry, kinds, only, writes_of


def rewritten(harness: ApplyHarness, key: str) -> Callable[[], None]:
    """Another program writes exactly what is there, mark and all: a new version of the same entry."""

    def rewrite() -> None:
        slot = RemoteKey(key)
        held = harness.server.held["web"][slot]
        harness.server.write("web", key, held.content, mark=held.mark)

    return rewrite


async def test_a_value_that_another_writer_changed_is_not_overwritten(harness: ApplyHarness) -> None:
    """Changed between plan and apply, the entry keeps the other writer's value; the outcome says so and says where it is at."""
    await harness.settle(entry("k", "1"))
    harness.want(entry("k", "2"))
    changes = await harness.plan()
    harness.server.write("web", "k", b"theirs")
    report = await harness.apply(changes)
    assert harness.held("k") == b"theirs"
    assert only(report).kind is OutcomeKind.CONFLICT
    assert "another writer changed it after the plan was made" in (only(report).error or "")
    assert "theirs" not in str(report.outcomes)


async def test_a_delete_spares_what_another_writer_changed(harness: ApplyHarness) -> None:
    """An entry that was changed since the plan is not deleted."""
    await harness.settle(entry("k", "1"))
    harness.want()
    changes = await harness.plan()
    slot = RemoteKey("k")
    harness.server.write("web", "k", b"theirs", mark=harness.server.held["web"][slot].mark)
    report = await harness.apply(changes)
    assert harness.held("k") == b"theirs"
    assert kinds(report) == {"k": "conflict"}


async def test_a_create_does_not_overwrite_what_appeared(harness: ApplyHarness) -> None:
    """A key that someone made since the plan is left as it is."""
    harness.want(entry("k", "ours"))
    changes = await harness.plan()
    harness.server.write("web", "k", b"theirs")
    report = await harness.apply(changes)
    assert harness.held("k") == b"theirs"
    assert kinds(report) == {"k": "conflict"}
    assert "did not write it" in (only(report).error or "")


async def test_one_conflict_does_not_stop_the_call(harness: ApplyHarness) -> None:
    """In a call of several only the entry that moved is a conflict."""
    harness.want(entry("a"), entry("b"), entry("c"))
    changes = await harness.plan()
    harness.server.write("web", "b", b"theirs")
    assert kinds(await harness.apply(changes)) == {"a": "applied", "b": "conflict", "c": "applied"}


async def test_a_new_version_of_the_same_content_does_not_stop_a_change(harness: ApplyHarness) -> None:
    """When planning again comes to what was approved, the change goes on against the version that is there now."""
    await harness.settle(entry("k", "1"))
    harness.want(entry("k", "2"))
    changes = await harness.plan()
    harness.server.before_change(rewritten(harness, "k"))
    report = await harness.apply(changes)
    assert kinds(report) == {"k": "applied"}
    assert harness.held("k") == b"2"
    assert len(harness.replanned) == 1


async def test_it_goes_on_five_times_at_most(harness: ApplyHarness) -> None:
    """An entry that moves at every attempt is left to the other writer in the end."""
    await harness.settle(entry("k", "1"))
    harness.want(entry("k", "2"))
    changes = await harness.plan()
    harness.server.before_change(rewritten(harness, "k"), times=100)
    report = await harness.apply(changes)
    assert kinds(report) == {"k": "conflict"}
    assert len(harness.replanned) == MOST_TRIES
    assert len(writes_of(harness.server)) == MOST_TRIES + 1
    assert harness.held("k") == b"1"


async def test_a_write_that_was_sent_twice_is_applied(harness: ApplyHarness) -> None:
    """A proxy sends a write twice, and gives the answer to the second: what is there is what was sent, mark and all."""
    await harness.settle(entry("k", "1"))
    harness.want(entry("k", "2"))
    changes = await harness.plan()
    held = harness.server.held["web"][RemoteKey("k")]
    assert held.mark is not None
    mark = harness.rules.signer.mark_of(entry("k", "2"))
    harness.server.write("web", "k", Content(b"2"), mark=mark)
    assert kinds(await harness.apply(changes)) == {"k": "applied"}
    assert harness.journal() == {"k": "applied"}


async def test_a_delete_that_was_sent_twice_is_applied(harness: ApplyHarness) -> None:
    """A delete that finds no entry may have been sent twice by a proxy. It counts as `applied`, so undo can restore the entry,
    and the ledger forgets it."""
    await harness.settle(entry("k"))
    harness.want()
    changes = await harness.plan()
    harness.server.delete("web", "k")
    assert kinds(await harness.apply(changes)) == {"k": "applied"}
    assert harness.ledger() == {}


@pytest.mark.parametrize("times", [1, 3])
async def test_planning_again_is_patient(harness: ApplyHarness, times: int) -> None:
    """A store that throttles the read of a moved entry is waited for."""
    await harness.settle(entry("k", "1"))
    harness.want(entry("k", "2"))
    changes = await harness.plan()
    harness.server.before_change(rewritten(harness, "k"))
    harness.server.fail(times=times, on=["lookup"])
    assert kinds(await harness.apply(changes)) == {"k": "applied"}


async def test_a_moved_entry_that_cannot_be_read_fails_alone(harness: ApplyHarness) -> None:
    """When a moved entry cannot be read it is `failed`; the rest of the call is done."""
    await harness.settle(entry("a", "1"), entry("b", "1"))
    harness.want(entry("a", "2"), entry("b", "2"))
    changes = await harness.plan()
    harness.server.before_change(rewritten(harness, "a"))
    harness.server.fail(times=50, on=["lookup"])
    assert kinds(await harness.apply(changes)) == {"a": "failed", "b": "applied"}
