"""The remote that fails on command: each fault does what it says, once or until it is healed."""

from __future__ import annotations

import pytest

from kvsync.errors import BatchRefused, LostAnswer, PermanentError, TransientError
from kvsync.model.entry import Content, Identity
from kvsync.model.place import Place
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Precondition, Store, Write, WriteStatus
from kvsync.testing import FakeClock, MemoryServer, memory_store

SIGNER = MarkSigner("me", Place("memory", ()))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server(clock: FakeClock) -> MemoryServer:
    return MemoryServer(clock)


@pytest.fixture
def store(server: MemoryServer, clock: FakeClock) -> Store:
    return memory_store(server, clock=clock)


def creation(key: str, value: bytes = b"x") -> Write:
    return Write(Identity(key), Precondition.ABSENT, Content(value))


async def keys(store: Store) -> list[str]:
    snapshot = await store.observe("web", SIGNER)
    assert snapshot is not None
    return [identity.key for identity in snapshot.entries]


async def test_failing_calls_do_nothing(server: MemoryServer, store: Store) -> None:
    """A call that is made to fail raises, does nothing, and the fault wears off after so many times."""
    server.fail(times=2)
    for _ in range(2):
        with pytest.raises(TransientError):
            await store.write("web", [creation("a")])
    assert server.contents("web") == {}
    await store.write("web", [creation("a")])
    assert server.contents("web") == {Identity("a"): Content(b"x")}
    assert server.count("change") == 3


async def test_failures_can_be_kept_to_some_calls(server: MemoryServer, store: Store) -> None:
    """A fault on writes waits for the next write, and lets readings pass."""
    server.fail(PermanentError("gone"), on=["change"])
    assert await keys(store) == []
    with pytest.raises(PermanentError, match="gone"):
        await store.write("web", [creation("a")])


async def test_throttling_tells_when_to_come_back(server: MemoryServer, store: Store) -> None:
    """A throttled call raises with the seconds to wait."""
    server.throttle(2.5)
    with pytest.raises(TransientError) as caught:
        await store.read("web", [Identity("a")])
    assert caught.value.retry_after == 2.5


async def test_a_lost_answer_hides_a_write_that_was_done(server: MemoryServer, store: Store) -> None:
    """When the answer is lost, the write is done."""
    server.lose_answers()
    with pytest.raises(LostAnswer):
        await store.write("web", [creation("a")])
    assert await keys(store) == ["a"]


async def test_a_refused_key_refuses_its_call(server: MemoryServer, store: Store) -> None:
    """A call that holds a refused key is refused as a whole, until the server is healed."""
    server.refuse_batches_with("bad")
    with pytest.raises(BatchRefused, match="web/bad"):
        await store.write("web", [creation("good"), creation("bad")])
    assert await keys(store) == []
    await store.write("web", [creation("good")])
    server.heal()
    await store.write("web", [creation("bad")])
    assert await keys(store) == ["good", "bad"]


@pytest.mark.parametrize("done", [True, False])
async def test_a_failing_entry_fails_alone(server: MemoryServer, store: Store, done: bool) -> None:
    """A failing entry has its own result, written or not as told, and its neighbours are done."""
    server.fail_entry("bad", WriteStatus.UNKNOWN, "who knows", done=done)
    results = await store.write("web", [creation("one"), creation("bad"), creation("two")])
    assert [result.status for result in results] == ["done", "unknown", "done"]
    assert results[1].error == "who knows"
    assert set(await keys(store)) == {"one", "two"} | ({"bad"} if done else set())


async def test_late_listings_show_the_past(server: MemoryServer, store: Store, clock: FakeClock) -> None:
    """A late listing shows what was there that long ago, while reading is fresh, and catches up in time."""
    await store.write("web", [creation("old")])
    server.list_late(60)
    clock.advance(100)
    await store.write("web", [creation("new")])
    server.delete("web", "old")
    assert await keys(store) == ["old"]
    assert set(await store.read("web", [Identity("new"), Identity("old")])) == {Identity("new")}
    clock.advance(61)
    assert await keys(store) == ["new"]


async def test_a_listing_can_break_off(server: MemoryServer, store: Store) -> None:
    """A listing that breaks off has some of the entries, and says that it is not complete."""
    await store.write("web", [creation("one"), creation("two")])
    server.list_incompletely(keep=1)
    snapshot = await store.observe("web", SIGNER)
    assert snapshot is not None
    assert (len(snapshot.entries), snapshot.complete) == (1, False)
    assert snapshot.problems
    assert await keys(store) == ["one", "two"]


async def test_lookups_can_show_another_value(server: MemoryServer, store: Store) -> None:
    """`misread` affects `times` look-ups of one key, once `after` of them were right."""
    await store.write("web", [creation("key"), creation("other")])
    server.misread("key", b"late", times=2, after=1)
    identities = [Identity("key"), Identity("other")]
    read = [await store.read("web", identities) for _ in range(4)]
    assert [found[Identity("key")].content == Content(b"late") for found in read] == [False, True, True, False]
    assert Content(b"late") not in [found[Identity("other")].content for found in read]


async def test_another_writer_can_be_faster(server: MemoryServer, store: Store) -> None:
    """What an interruption writes is there before the write that it interrupts."""
    server.before_change(lambda: server.write("web", "a", b"theirs"))
    (result,) = await store.write("web", [creation("a")])
    assert result.status is WriteStatus.CONFLICT
    assert server.contents("web") == {Identity("a"): Content(b"theirs")}


async def test_a_locked_entry_stays(server: MemoryServer, store: Store) -> None:
    """A locked entry is read as locked and not written, until it is unlocked."""
    await store.write("web", [creation("a")])
    server.lock("web", "a")
    present = (await store.read("web", [Identity("a")]))[Identity("a")]
    assert present.locked
    change = Write(Identity("a"), Precondition.UNCHANGED, Content(b"y"), etag=present.etag)
    assert (await store.write("web", [change]))[0].status is WriteStatus.LOCKED
    server.lock("web", "a", locked=False)
    assert (await store.write("web", [change]))[0].status is WriteStatus.DONE


async def test_calls_are_remembered(server: MemoryServer, store: Store) -> None:
    """Every call that reached the server is reported, with its keys."""
    await store.write("web", [creation("a"), creation("b")])
    await keys(store)
    assert [(call.method, call.keys) for call in server.calls] == [("change", ("a", "b")), ("listing", ())]


async def test_named_memories_are_shared(clock: FakeClock) -> None:
    """Two stores that name the same memory hold the same entries; others have one each."""
    from pathlib import Path

    from kvsync.config.model import StoreConfig
    from kvsync.stores.base import StoreContext
    from kvsync.stores.registry import open_store

    context = StoreContext(Path(), None, str, clock)
    one, two, other = (
        open_store(StoreConfig(name, "memory", options), context)
        for name, options in [("one", {"shared": "test"}), ("two", {"shared": "test"}), ("other", {})]
    )
    await one.write("web", [creation("a")])
    assert await keys(two) == ["a"]
    assert await keys(other) == []


async def test_the_clock_moves_only_when_told(clock: FakeClock) -> None:
    """Time stands still but for `advance` and `sleep`, and both kinds of time agree."""
    start = clock.now()
    assert (clock.now(), clock.monotonic()) == (start, 0)
    clock.advance(5)
    await clock.sleep(2.5)
    assert (clock.now(), clock.monotonic()) == (start + 7.5, 7.5)
