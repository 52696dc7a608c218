from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kvsync.errors import LostAnswer, TransientError, UnexpectedError
from kvsync.model.capabilities import Lifetimes, Marks
from kvsync.model.entry import Identity
from kvsync.state.deletions import LimitedDeletions
from kvsync.stores.base import Write, WriteResult, WriteStatus
from kvsync.stores.memory.backend import RemoteKey
from kvsync.stores.pacing import RetryPolicy
from kvsync.testing.server import ServerCall
from tests.apply.harness import ApplyHarness, entry, kinds, only, writes_of

Make = Callable[..., ApplyHarness]

STORES: list[dict[str, Any]] = [
    {},
    {"batch": 1},
    {"compare_and_set": False},
    {"compare_and_set": False, "marks": Marks.LEDGER, "lifetimes": Lifetimes.EMULATED},
    {"compare_and_set": False, "settle": 60.0},
]


@pytest.mark.parametrize("capabilities", STORES, ids=str)
async def test_a_write_whose_answer_was_lost_is_read_not_repeated(make: Make, capabilities: dict[str, Any]) -> None:
    """What was written although nobody heard of it is `applied`, and was sent once."""
    harness = make(**capabilities)
    await harness.settle(entry("changed", "1"), entry("gone"))
    harness.want(entry("changed", "2"), entry("new"))
    changes = await harness.plan()
    assert len(changes) == 3
    harness.server.lose_answers(times=10)
    report = await harness.apply(changes)
    assert set(kinds(report).values()) == {"applied"}
    assert sorted(key for call in writes_of(harness.server) for key in call) == ["changed", "gone", "new"]
    assert harness.journal() == dict.fromkeys(("changed", "gone", "new"), "applied")
    harness.server.heal()
    assert await harness.plan() == []


def losing(harness: ApplyHarness, times: int) -> Callable[[str, Sequence[Write]], Any]:
    """A store whose calls die on the way there: nothing is written, and nobody can tell."""
    write, left = harness.store.write, times

    async def lose(namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        nonlocal left
        if left:
            left -= 1
            harness.server.calls.append(ServerCall("lost", namespace, tuple(write.identity.key for write in writes)))
            raise LostAnswer("no answer in 30 s")
        return await write(namespace, writes)

    return lose


async def test_a_write_that_never_arrived_is_sent_again(harness: ApplyHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the entries are as before, they are sent again, in smaller calls since the large one timed out."""
    harness.want(*(entry(f"{n}") for n in range(4)))
    changes = await harness.plan()
    monkeypatch.setattr(harness.store, "write", losing(harness, 1))
    report = await harness.apply(changes)
    assert set(kinds(report).values()) == {"applied"}
    assert [len(call) for call in writes_of(harness.server)] == [2, 2]


async def test_reads_that_pass_do_not_make_a_write_repeat_forever(
    harness: ApplyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that is lost every time is given up after the attempts it is worth."""
    harness.want(entry("k"))
    changes = await harness.plan()
    monkeypatch.setattr(harness.store, "write", losing(harness, 10_000))
    report = await harness.apply(changes, retry=RetryPolicy(attempts=4, deadline=600, base=1, cap=8))
    assert kinds(report) == {"k": "unknown"}
    assert sum(call.method == "lost" for call in harness.server.calls) == 4


async def test_a_lost_answer_over_a_foreign_write_is_a_conflict(
    harness: ApplyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When neither our write nor what was there before is found, the other writer's value stays."""
    await harness.settle(entry("k", "1"))
    harness.want(entry("k", "2"))
    changes = await harness.plan()

    async def lost(_namespace: str, _writes: Sequence[Write]) -> Sequence[WriteResult]:
        harness.server.write("web", "k", b"theirs")
        raise LostAnswer("no answer")

    monkeypatch.setattr(harness.store, "write", lost)
    report = await harness.apply(changes)
    assert kinds(report) == {"k": "conflict"}
    assert harness.held("k") == b"theirs"


@pytest.mark.parametrize("done", [True, False])
async def test_an_entry_the_store_is_not_sure_of_is_read(harness: ApplyHarness, done: bool) -> None:
    """UNKNOWN is looked at: our write there is `applied`, nothing there is sent again until patience ends."""
    harness.want(entry("a"), entry("b"))
    changes = await harness.plan()
    harness.server.fail_entry("b", WriteStatus.UNKNOWN, done=done)
    report = await harness.apply(changes)
    assert kinds(report) == {"a": "applied", "b": "applied" if done else "unknown"}
    assert len(writes_of(harness.server)) == (1 if done else 4)


@pytest.mark.parametrize("compare_and_set", [True, False])
async def test_a_renewal_whose_answer_was_lost_is_distinguished_from_one_that_never_happened(
    make: Make, compare_and_set: bool
) -> None:
    """Equal content proves nothing for a renewal; the lifetime or the version does."""
    for lost_on_the_way in (True, False):
        harness = make(compare_and_set=compare_and_set)
        await harness.settle(entry("k", ttl=1000))
        harness.clock.advance(900)
        changes = await harness.plan()
        assert [change.action for change in changes] == ["renew"]
        if lost_on_the_way:
            harness.server.fail(LostAnswer("no answer"), on=["change"])
        else:
            harness.server.lose_answers()
        report = await harness.apply(changes)
        assert kinds(report) == {"k": "applied"}
        held = harness.server.held["web"][RemoteKey("k")]
        assert held.expires_at is not None
        assert held.expires_at >= harness.clock.now() + 900
        assert len(writes_of(harness.server)) == (2 if lost_on_the_way else 1)


async def test_our_own_write_that_lands_late_is_not_a_conflict(
    harness: ApplyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that takes effect only after it was read back as missing makes us conflict with ourselves: applied."""
    harness.want(entry("k"))
    changes = await harness.plan()
    write = harness.store.write
    late: list[Sequence[Write]] = []

    async def slow(namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        if not late:
            late.append(writes)
            raise LostAnswer("no answer")
        await write(namespace, late[0])
        return await write(namespace, writes)

    monkeypatch.setattr(harness.store, "write", slow)
    report = await harness.apply(changes)
    assert kinds(report) == {"k": "applied"}


async def test_our_own_write_that_lands_before_the_next_look_is_applied(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without compare-and-set the late write is found by the read before the repetition, and is not repeated."""
    harness = make(compare_and_set=False)
    harness.want(entry("k"))
    changes = await harness.plan()
    write, read = harness.store.write, harness.store.read
    late: list[Sequence[Write]] = []
    reads = 0

    async def lost(_namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        late.append(writes)
        raise LostAnswer("no answer")

    async def landing(namespace: str, identities: Any) -> Any:
        nonlocal reads
        reads += 1
        if reads == 3:
            await write(namespace, late[0])
        return await read(namespace, identities)

    monkeypatch.setattr(harness.store, "write", lost)
    monkeypatch.setattr(harness.store, "read", landing)
    assert kinds(await harness.apply(changes)) == {"k": "applied"}
    assert len(late) == 1


async def test_what_cannot_be_read_back_is_unknown_and_says_that_it_may_be_written(harness: ApplyHarness) -> None:
    """When the answer is lost and reading fails too, the outcome is `unknown`, never `applied`."""
    harness.want(entry("k"))
    changes = await harness.plan()
    harness.server.lose_answers()
    harness.server.fail(TransientError("503"), times=50, on=["lookup"])
    report = await harness.apply(changes)
    assert kinds(report) == {"k": "unknown"}
    assert "reading it back failed too" in (only(report).error or "")
    harness.server.heal()
    assert await harness.plan() == []


async def test_stopping_while_an_answer_is_missing_is_not_counted_as_not_attempted(harness: ApplyHarness) -> None:
    """What may be written is not called `not-attempted`."""
    harness.want(entry("k"))
    changes = await harness.plan()
    harness.server.lose_answers()
    harness.server.fail(TransientError("503", retry_after=50), times=50, on=["lookup"])
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True

    harness.server.before_change(stop)
    report = await harness.apply(changes, stop=lambda: stopped)
    assert kinds(report) == {"k": "unknown"}
    assert "may or may not have been written" in (only(report).error or "")


async def test_a_write_that_ended_in_a_mistake_may_have_been_made(
    harness: ApplyHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the code of a store fails in the middle of a call, nobody knows what was written: the entry is `unknown`, and the
    limit on deletes counts it."""
    await harness.settle(entry("k"))
    harness.want()
    changes = await harness.plan()
    write = harness.store.write

    async def mistaken(namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        await write(namespace, writes)
        raise UnexpectedError("KeyError: 'etag'")

    monkeypatch.setattr(harness.store, "write", mistaken)
    deletions = LimitedDeletions(harness.state.deletions, 5)
    assert kinds(await harness.apply(changes, deletions=deletions)) == {"k": "unknown"}
    assert deletions.budget().used == 1


@pytest.mark.parametrize("marks", list(Marks))
@pytest.mark.parametrize("is_overtaken", [True, False])
async def test_an_unknown_write_stays_open_where_only_the_ledger_says_what_is_ours(
    make: Make, marks: Marks, is_overtaken: bool
) -> None:
    """Without a mark next to the entry, only the open intent tells the next pass that the entry may be ours."""
    harness = make(marks=marks)
    harness.want(entry("k"))
    changes = await harness.plan()
    harness.server.lose_answers()
    if is_overtaken:
        read = harness.store.read

        async def overtaken(namespace: str, identities: Sequence[Identity]) -> Any:
            harness.server.write("web", "k", b"theirs")
            return await read(namespace, identities)

        harness.store.read = overtaken  # type: ignore[method-assign]
    else:
        harness.server.fail(TransientError("503"), times=50, on=["lookup"])
    kind = "conflict" if is_overtaken else "unknown"
    assert kinds(await harness.apply(changes)) == {"k": kind}
    assert harness.journal() == {"k": None if marks is Marks.LEDGER else kind}


async def test_an_entry_that_was_deleted_without_an_answer_may_come_back_as_ours(make: Make) -> None:
    """Where only the ledger knows what is ours, it keeps the entry after a delete that no answer confirmed: the read that shows
    nothing may be late."""
    harness = make(marks=Marks.LEDGER)
    await harness.settle(entry("lost"))
    harness.want()
    changes = await harness.plan()
    harness.server.lose_answers()
    assert kinds(await harness.apply(changes)) == {"lost": "applied"}
    assert [one.unseen_since for one in harness.ledger().values()] == [harness.clock.now()]


async def test_a_delete_that_failed_counts_for_the_limit(harness: ApplyHarness) -> None:
    """A delete that was sent may have reached the store, whatever the answer said."""
    await harness.settle(entry("k"))
    harness.want()
    changes = await harness.plan()
    harness.server.fail(TransientError("503"), times=50, on=["change"])
    deletions = LimitedDeletions(harness.state.deletions, 5)
    assert kinds(await harness.apply(changes, deletions=deletions)) == {"k": "failed"}
    assert deletions.budget().used == 1
