from __future__ import annotations

from collections.abc import Callable

import pytest

from kvsync.apply.batch import MOST_TRIES
from kvsync.model.entry import Content, OutcomeKind
from kvsync.stores.memory.backend import RemoteKey
from tests.apply.bench import Bench, entry, kinds, only, writes_of


def rewritten(bench: Bench, key: str) -> Callable[[], None]:
    """Another program writes exactly what is there, mark and all: a new version of the same entry."""

    def rewrite() -> None:
        slot = RemoteKey(key)
        held = bench.server.held["web"][slot]
        bench.server.write("web", key, held.content, mark=held.mark)

    return rewrite


async def test_a_value_that_another_writer_changed_is_not_overwritten(bench: Bench) -> None:
    """Changed between plan and apply, the entry keeps the other writer's value; the outcome says so and says where it is at."""
    await bench.settle(entry("k", "1"))
    bench.want(entry("k", "2"))
    changes = await bench.plan()
    bench.server.write("web", "k", b"theirs")
    report = await bench.apply(changes)
    assert bench.held("k") == b"theirs"
    assert only(report).kind is OutcomeKind.CONFLICT
    assert "another writer changed it after the plan was made" in (only(report).error or "")
    assert "theirs" not in str(report.outcomes)


async def test_a_delete_spares_what_another_writer_changed(bench: Bench) -> None:
    """An entry that was changed since the plan is not deleted."""
    await bench.settle(entry("k", "1"))
    bench.want()
    changes = await bench.plan()
    slot = RemoteKey("k")
    bench.server.write("web", "k", b"theirs", mark=bench.server.held["web"][slot].mark)
    report = await bench.apply(changes)
    assert bench.held("k") == b"theirs"
    assert kinds(report) == {"k": "conflict"}


async def test_a_create_does_not_overwrite_what_appeared(bench: Bench) -> None:
    """A key that somebody made since the plan is left as it is."""
    bench.want(entry("k", "ours"))
    changes = await bench.plan()
    bench.server.write("web", "k", b"theirs")
    report = await bench.apply(changes)
    assert bench.held("k") == b"theirs"
    assert kinds(report) == {"k": "conflict"}
    assert "did not write it" in (only(report).error or "")


async def test_one_conflict_does_not_stop_the_call(bench: Bench) -> None:
    """In a call of several only the entry that moved is a conflict."""
    bench.want(entry("a"), entry("b"), entry("c"))
    changes = await bench.plan()
    bench.server.write("web", "b", b"theirs")
    assert kinds(await bench.apply(changes)) == {"a": "applied", "b": "conflict", "c": "applied"}


async def test_a_new_version_of_the_same_content_does_not_stop_a_change(bench: Bench) -> None:
    """When planning again comes to what was approved, the change goes on against the version that is there now."""
    await bench.settle(entry("k", "1"))
    bench.want(entry("k", "2"))
    changes = await bench.plan()
    bench.server.before_change(rewritten(bench, "k"))
    report = await bench.apply(changes)
    assert kinds(report) == {"k": "applied"}
    assert bench.held("k") == b"2"
    assert len(bench.replanned) == 1


async def test_it_goes_on_five_times_at_most(bench: Bench) -> None:
    """An entry that moves at every attempt is left to the other writer in the end."""
    await bench.settle(entry("k", "1"))
    bench.want(entry("k", "2"))
    changes = await bench.plan()
    bench.server.before_change(rewritten(bench, "k"), times=100)
    report = await bench.apply(changes)
    assert kinds(report) == {"k": "conflict"}
    assert len(bench.replanned) == MOST_TRIES
    assert len(writes_of(bench.server)) == MOST_TRIES + 1
    assert bench.held("k") == b"1"


async def test_a_write_that_was_sent_twice_is_applied(bench: Bench) -> None:
    """A proxy sends a write twice, and gives the answer to the second: what is there is what was sent, mark and all."""
    await bench.settle(entry("k", "1"))
    bench.want(entry("k", "2"))
    changes = await bench.plan()
    held = bench.server.held["web"][RemoteKey("k")]
    assert held.mark is not None
    mark = bench.rules.signer.mark_of(entry("k", "2"))
    bench.server.write("web", "k", Content(b"2"), mark=mark)
    assert kinds(await bench.apply(changes)) == {"k": "applied"}
    assert bench.journal() == {"k": "applied"}


async def test_a_delete_that_was_sent_twice_is_applied(bench: Bench) -> None:
    """A delete that finds no entry may have been sent twice by a proxy. It counts as `applied`, so undo can restore the entry,
    and the ledger forgets it."""
    await bench.settle(entry("k"))
    bench.want()
    changes = await bench.plan()
    bench.server.delete("web", "k")
    assert kinds(await bench.apply(changes)) == {"k": "applied"}
    assert bench.ledger() == {}


@pytest.mark.parametrize("times", [1, 3])
async def test_planning_again_is_patient(bench: Bench, times: int) -> None:
    """A store that throttles the read of a moved entry is waited for."""
    await bench.settle(entry("k", "1"))
    bench.want(entry("k", "2"))
    changes = await bench.plan()
    bench.server.before_change(rewritten(bench, "k"))
    bench.server.fail(times=times, on=["lookup"])
    assert kinds(await bench.apply(changes)) == {"k": "applied"}


async def test_a_moved_entry_that_cannot_be_read_fails_alone(bench: Bench) -> None:
    """When a moved entry cannot be looked at it is `failed`; the rest of the call is done."""
    await bench.settle(entry("a", "1"), entry("b", "1"))
    bench.want(entry("a", "2"), entry("b", "2"))
    changes = await bench.plan()
    bench.server.before_change(rewritten(bench, "a"))
    bench.server.fail(times=50, on=["lookup"])
    assert kinds(await bench.apply(changes)) == {"a": "failed", "b": "applied"}
