from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kvsync.errors import TransientError
from kvsync.model.capabilities import Lifetimes, Marks
from kvsync.state.deletions import LimitedDeletions
from tests.apply.harness import ApplyHarness, entry, kinds, only, writes_of

Make = Callable[..., ApplyHarness]

STORES: list[dict[str, Any]] = [
    {"batch": 1},
    {"batch": 100, "read_batch": 3},
    {"batch": 1, "marks": Marks.LEDGER, "values_in_listing": False, "lifetimes": Lifetimes.EMULATED},
    {"batch": 100, "settle": 60.0, "values_in_listing": False},
]


@pytest.fixture(params=STORES, ids=str)
def weak(request: pytest.FixtureRequest, make: Make) -> ApplyHarness:
    return make(compare_and_set=False, **request.param)


def overtake_second_read(harness: ApplyHarness) -> None:
    """Let another writer write the entry right before kvsync reads it back."""
    read, reads = harness.store.read, 0

    async def overtaken(namespace: str, identities: Any) -> Any:
        nonlocal reads
        reads += 1
        if reads == 2:
            harness.server.write("web", "k", b"theirs")
        return await read(namespace, identities)

    harness.store.read = overtaken  # type: ignore[method-assign]


async def test_entries_are_read_right_before_they_are_written(weak: ApplyHarness) -> None:
    """Where a store cannot compare, every call of writes follows a read of the same entries."""
    weak.want(*(entry(f"{n}") for n in range(3)))
    changes = await weak.plan()
    weak.server.calls.clear()
    assert set(kinds(await weak.apply(changes, concurrency=1)).values()) == {"applied"}
    for position, call in enumerate(weak.server.calls):
        if call.method == "change":
            before = weak.server.calls[position - 1]
            assert (before.method, before.keys) == ("lookup", call.keys)


@pytest.mark.parametrize("wish", ["update", "delete", "create"])
async def test_what_moved_since_the_plan_is_not_overwritten(weak: ApplyHarness, wish: str) -> None:
    """A foreign change between plan and apply is found by the read before the write: conflict, and the value stays."""
    if wish != "create":
        await weak.settle(entry("k", "1"))
    weak.want(*(() if wish == "delete" else (entry("k", "2"),)))
    changes = await weak.plan()
    weak.server.write("web", "k", b"a value of another size")
    report = await weak.apply(changes)
    assert weak.held("k") == b"a value of another size"
    assert only(report).kind in ("conflict", "unchanged")
    if wish != "delete":  # a delete of what is no longer ours has nothing to do
        assert only(report).kind == "conflict"
    assert writes_of(weak.server) == []


async def test_a_mark_that_is_gone_is_a_change_too(make: Make) -> None:
    """Another program wrote the very same content without our mark: that is another change than the approved one."""
    harness = make(compare_and_set=False)
    await harness.settle(entry("k", "1"))
    harness.want(entry("k", "2"))
    changes = await harness.plan()
    harness.server.write("web", "k", b"1")
    assert kinds(await harness.apply(changes)) == {"k": "conflict"}
    assert harness.held("k") == b"1"


async def test_a_lost_mark_is_noticed_when_it_is_read_back(make: Make) -> None:
    """Our content without our mark is someone else's write."""
    harness = make(compare_and_set=False, batch=1)
    harness.want(entry("k"))
    write = harness.store.write

    async def overtaken(namespace: str, writes: Any) -> Any:
        results = await write(namespace, writes)
        harness.server.write("web", "k", b"v")
        return results

    harness.store.write = overtaken  # type: ignore[method-assign]
    assert kinds(await harness.apply()) == {"k": "conflict"}


async def test_a_writer_who_is_faster_after_the_write_is_noticed(make: Make) -> None:
    """What is read back right after the write is not ours: conflict, not applied."""
    harness = make(compare_and_set=False, batch=1)
    harness.want(entry("k"))
    changes = await harness.plan()
    overtake_second_read(harness)
    report = await harness.apply(changes)
    assert kinds(report) == {"k": "conflict"}
    assert "right after kvsync wrote it" in (only(report).error or "")


async def test_a_delete_that_another_writer_undoes_at_once_counts(make: Make) -> None:
    """The store deleted the entry, so that the limit on deletes counts it, whatever is read back."""
    harness = make(compare_and_set=False, batch=1)
    await harness.settle(entry("k"))
    harness.want()
    changes = await harness.plan()
    overtake_second_read(harness)
    deletions = LimitedDeletions(harness.state.deletions, 5)
    assert kinds(await harness.apply(changes, deletions=deletions)) == {"k": "conflict"}
    assert deletions.budget().used == 1


async def test_a_store_that_settles_late_is_not_read_back(make: Make) -> None:
    """Within the settle window a read proves nothing, so none is made."""
    harness = make(compare_and_set=False, settle=60.0)
    harness.want(entry("k"))
    await harness.apply()
    assert [call.method for call in harness.server.calls] == ["listing", "lookup", "change"]


async def test_a_done_write_that_cannot_be_read_back_is_applied(make: Make) -> None:
    """The store said that it is written; failing to look again does not make it a failure."""
    harness = make(compare_and_set=False)
    harness.want(entry("k"))
    changes = await harness.plan()
    harness.server.before_change(lambda: harness.server.fail(TransientError("503"), times=50, on=["lookup"]))
    assert kinds(await harness.apply(changes)) == {"k": "applied"}


async def test_the_read_before_the_write_is_patient(make: Make) -> None:
    """A throttled read before the write delays the write, and fails nothing."""
    harness = make(compare_and_set=False)
    harness.want(entry("k"))
    changes = await harness.plan()
    harness.server.throttle(5.0, times=2, on=["lookup"])
    assert kinds(await harness.apply(changes)) == {"k": "applied"}
