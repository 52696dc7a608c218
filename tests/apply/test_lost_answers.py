from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kvsync.errors import LostAnswer, TransientError
from kvsync.model.capabilities import Lifetimes, Marks
from kvsync.stores.base import Write, WriteResult, WriteStatus
from kvsync.stores.memory.backend import RemoteKey
from kvsync.stores.pacing import RetryPolicy
from kvsync.testing.server import ServerCall
from tests.apply.bench import Bench, entry, kinds, only, writes_of

Make = Callable[..., Bench]

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
    bench = make(**capabilities)
    await bench.settle(entry("changed", "1"), entry("gone"))
    bench.want(entry("changed", "2"), entry("new"))
    changes = await bench.plan()
    assert len(changes) == 3
    bench.server.lose_answers(times=10)
    report = await bench.apply(changes)
    assert set(kinds(report).values()) == {"applied"}
    assert sorted(key for call in writes_of(bench.server) for key in call) == ["changed", "gone", "new"]
    assert bench.journal() == dict.fromkeys(("changed", "gone", "new"), "applied")
    bench.server.heal()
    assert await bench.plan() == []


def losing(bench: Bench, times: int) -> Callable[[str, Sequence[Write]], Any]:
    """A store whose calls die on the way there: nothing is written, and nobody can tell."""
    write, left = bench.store.write, times

    async def lose(namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        nonlocal left
        if left:
            left -= 1
            bench.server.calls.append(ServerCall("lost", namespace, tuple(write.identity.key for write in writes)))
            raise LostAnswer("no answer in 30 s")
        return await write(namespace, writes)

    return lose


async def test_a_write_that_never_arrived_is_sent_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the entries are as before, they are sent again, in smaller calls since the large one timed out."""
    bench.want(*(entry(f"{n}") for n in range(4)))
    changes = await bench.plan()
    monkeypatch.setattr(bench.store, "write", losing(bench, 1))
    report = await bench.apply(changes)
    assert set(kinds(report).values()) == {"applied"}
    assert [len(call) for call in writes_of(bench.server)] == [2, 2]


async def test_reads_that_pass_do_not_make_a_write_repeat_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that is lost every time is given up after the attempts it is worth."""
    bench.want(entry("k"))
    changes = await bench.plan()
    monkeypatch.setattr(bench.store, "write", losing(bench, 10_000))
    report = await bench.apply(changes, retry=RetryPolicy(attempts=4, deadline=600, base=1, cap=8))
    assert kinds(report) == {"k": "failed"}
    assert sum(call.method == "lost" for call in bench.server.calls) == 4


async def test_a_lost_answer_over_a_foreign_write_is_a_conflict(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """When neither our write nor what was there before is found, the other writer's value stays."""
    await bench.settle(entry("k", "1"))
    bench.want(entry("k", "2"))
    changes = await bench.plan()

    async def lost(_namespace: str, _writes: Sequence[Write]) -> Sequence[WriteResult]:
        bench.server.write("web", "k", b"theirs")
        raise LostAnswer("no answer")

    monkeypatch.setattr(bench.store, "write", lost)
    report = await bench.apply(changes)
    assert kinds(report) == {"k": "conflict"}
    assert bench.held("k") == b"theirs"


@pytest.mark.parametrize("done", [True, False])
async def test_an_entry_the_store_is_not_sure_of_is_read(bench: Bench, done: bool) -> None:
    """UNKNOWN is looked at: our write there is `applied`, nothing there is sent again until patience ends."""
    bench.want(entry("a"), entry("b"))
    changes = await bench.plan()
    bench.server.fail_entry("b", WriteStatus.UNKNOWN, done=done)
    report = await bench.apply(changes)
    assert kinds(report) == {"a": "applied", "b": "applied" if done else "failed"}
    assert len(writes_of(bench.server)) == (1 if done else 4)


@pytest.mark.parametrize("compare_and_set", [True, False])
async def test_a_renewal_whose_answer_was_lost_is_told_from_one_that_never_happened(
    make: Make, compare_and_set: bool
) -> None:
    """Equal content proves nothing for a renewal; the lifetime or the version does."""
    for lost_on_the_way in (True, False):
        bench = make(compare_and_set=compare_and_set)
        await bench.settle(entry("k", ttl=1000))
        bench.clock.advance(900)
        changes = await bench.plan()
        assert [change.action for change in changes] == ["renew"]
        if lost_on_the_way:
            bench.server.fail(LostAnswer("no answer"), on=["change"])
        else:
            bench.server.lose_answers()
        report = await bench.apply(changes)
        assert kinds(report) == {"k": "applied"}
        held = bench.server.held["web"][RemoteKey("k")]
        assert held.expires_at is not None
        assert held.expires_at >= bench.clock.now() + 900
        assert len(writes_of(bench.server)) == (2 if lost_on_the_way else 1)


async def test_our_own_write_that_lands_late_is_no_conflict(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that takes effect only after it was read back as missing makes us conflict with ourselves: applied."""
    bench.want(entry("k"))
    changes = await bench.plan()
    write = bench.store.write
    late: list[Sequence[Write]] = []

    async def slow(namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        if not late:
            late.append(writes)
            raise LostAnswer("no answer")
        await write(namespace, late[0])
        return await write(namespace, writes)

    monkeypatch.setattr(bench.store, "write", slow)
    report = await bench.apply(changes)
    assert kinds(report) == {"k": "applied"}


async def test_our_own_write_that_lands_before_the_next_look_is_applied(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without compare-and-set the late write is found by the read before the repetition, and is not repeated."""
    bench = make(compare_and_set=False)
    bench.want(entry("k"))
    changes = await bench.plan()
    write, read = bench.store.write, bench.store.read
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

    monkeypatch.setattr(bench.store, "write", lost)
    monkeypatch.setattr(bench.store, "read", landing)
    assert kinds(await bench.apply(changes)) == {"k": "applied"}
    assert len(late) == 1


async def test_what_cannot_be_read_back_is_failed_and_says_that_it_may_be_written(bench: Bench) -> None:
    """When the answer is lost and reading fails too, the outcome is `failed`, never `applied`."""
    bench.want(entry("k"))
    changes = await bench.plan()
    bench.server.lose_answers()
    bench.server.fail(TransientError("503"), times=50, on=["lookup"])
    report = await bench.apply(changes)
    assert kinds(report) == {"k": "failed"}
    assert "reading it back failed too" in (only(report).error or "")
    bench.server.heal()
    assert await bench.plan() == []


async def test_stopping_while_an_answer_is_missing_is_no_not_attempted(bench: Bench) -> None:
    """What may be written is not called `not-attempted`."""
    bench.want(entry("k"))
    changes = await bench.plan()
    bench.server.lose_answers()
    bench.server.fail(TransientError("503", retry_after=50), times=50, on=["lookup"])
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True

    bench.server.before_change(stop)
    report = await bench.apply(changes, stop=lambda: stopped)
    assert kinds(report) == {"k": "failed"}
    assert "may or may not have been written" in (only(report).error or "")
