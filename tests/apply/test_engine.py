from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from kvsync.errors import AuthError, PermanentError, TransientError
from kvsync.model.change import OutcomeKind
from kvsync.model.entry import Identity
from kvsync.stores.base import Write, WriteResult
from kvsync.stores.pacing import DOWN_AFTER, RetryPolicy
from tests.apply.harness import ApplyHarness, after, entry, kinds, writes_of

Make = Callable[..., ApplyHarness]


async def test_the_store_holds_what_was_wanted_and_the_next_plan_is_empty(harness: ApplyHarness) -> None:
    """Creates, updates, renewals, adoptions and deletes all arrive, with one outcome each, and nothing is left to do."""
    await harness.settle(entry("changed", "1"), entry("gone"), entry("kept"), entry("renewed", ttl=100))
    harness.server.write("web", "adopted", b"v")
    harness.clock.advance(80)
    harness.want(entry("adopted"), entry("changed", "2"), entry("kept"), entry("new"), entry("renewed", ttl=100))
    changes = await harness.plan()
    assert {change.action.value for change in changes} == {"create", "update", "renew", "adopt", "delete"}
    report = await harness.apply(changes)
    assert [outcome.identity for outcome in report.outcomes] == [change.identity for change in changes]
    assert set(kinds(report).values()) == {"applied"}
    assert report.store_error is None
    assert {key.key: content.value for key, content in harness.server.contents("web").items()} == {
        "adopted": b"v",
        "changed": b"2",
        "kept": b"v",
        "new": b"v",
        "renewed": b"v",
    }
    assert await harness.plan() == []


async def test_the_ledger_knows_what_was_applied(harness: ApplyHarness) -> None:
    """After an apply the ledger holds mark, version and lifetime of what was written, and nothing of what was deleted."""
    await harness.settle(entry("a"), entry("b", ttl=60))
    harness.want(entry("b", ttl=60))
    await harness.apply()
    ledger = harness.ledger()
    assert list(ledger) == [Identity("b")]
    assert ledger[Identity("b")].expires_at == harness.clock.now() + 60
    assert ledger[Identity("b")].etag is not None


async def test_what_puts_entries_in_place_goes_before_what_takes_them_away(make: Make) -> None:
    """No delete is sent before the last create and update came back, however the changes are ordered."""
    harness = make(batch=1)
    await harness.settle(*(entry(f"a{n}") for n in range(6)))
    harness.want(*(entry(f"b{n}") for n in range(6)))
    await harness.apply()
    keys = [key for call in writes_of(harness.server) for key in call]
    assert [key[0] for key in keys] == ["b"] * 6 + ["a"] * 6


async def test_calls_are_as_large_as_the_store_takes(make: Make) -> None:
    """Writes go out in full calls, the last one with the rest."""
    harness = make(batch=10)
    harness.want(*(entry(f"{n:02}") for n in range(25)))
    await harness.apply()
    assert [len(call) for call in writes_of(harness.server)] == [10, 10, 5]


@pytest.mark.parametrize(("batch", "concurrency", "expected"), [(1, 4, 4), (5, 4, 1)])
async def test_calls_of_one_go_together_batches_one_by_one(
    make: Make, monkeypatch: pytest.MonkeyPatch, batch: int, concurrency: int, expected: int
) -> None:
    """Single writes are in flight together up to the bound, batches never are."""
    harness = make(batch=batch, concurrency=concurrency)
    running = most = 0
    write = harness.store.write

    async def slow(namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return await write(namespace, writes)

    monkeypatch.setattr(harness.store, "write", slow)
    harness.want(*(entry(f"{n:02}") for n in range(60)))
    report = await harness.apply()
    assert set(kinds(report).values()) == {"applied"}
    assert most == expected


async def test_throttling_is_waited_out(make: Make) -> None:
    """A throttled call is sent again after the time the store asked for; nothing fails."""
    harness = make(batch=1)
    harness.want(*(entry(f"{n:02}") for n in range(20)))
    changes = await harness.plan()
    harness.server.throttle(7.0, times=2)
    began = harness.clock.monotonic()
    report = await harness.apply(changes)
    assert set(kinds(report).values()) == {"applied"}
    assert harness.clock.monotonic() - began >= 7


async def test_an_entry_that_keeps_failing_fails_alone(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """When patience with one entry ends it is `failed`; the others are applied."""
    harness = make(batch=1)
    write = harness.store.write

    async def picky(namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        if writes[0].identity.key == "bad":
            raise TransientError("500 from the store")
        return await write(namespace, writes)

    monkeypatch.setattr(harness.store, "write", picky)
    harness.want(entry("a"), entry("bad"), entry("c"))
    report = await harness.apply()
    assert kinds(report) == {"a": "applied", "bad": "failed", "c": "applied"}
    assert report.outcomes[1].error == "500 from the store"
    assert report.quarantined == ()
    assert report.store_error is None


async def test_a_store_that_is_down_is_not_tried_entry_by_entry_forever(make: Make) -> None:
    """After enough calls in a row were given up, the rest is `not-attempted`, in bounded time."""
    harness = make(batch=1)
    harness.want(*(entry(f"{n:03}") for n in range(100)))
    changes = await harness.plan()
    harness.server.fail(times=10_000)
    report = await harness.apply(changes, retry=RetryPolicy(attempts=4, deadline=60, base=1, cap=8))
    found = list(kinds(report).values())
    assert found.count("failed") >= DOWN_AFTER
    assert found.count("not-attempted") > 80
    assert isinstance(report.store_error, TransientError)
    assert harness.clock.monotonic() < 2 * 60


@pytest.mark.parametrize("error", [AuthError("401: the token is not valid"), PermanentError("402: no credit")])
async def test_a_refused_credential_stops_the_store(make: Make, error: AuthError | PermanentError) -> None:
    """401 and what waiting cannot cure fail the call in flight; the rest is `not-attempted`, and the caller learns why."""
    harness = make(batch=2)
    harness.want(*(entry(f"{n}") for n in range(6)))
    changes = await harness.plan()
    harness.server.before_change(lambda: harness.server.fail(error))
    report = await harness.apply(changes)
    assert list(kinds(report).values()) == ["applied"] * 2 + ["failed"] * 2 + ["not-attempted"] * 2
    assert report.store_error is error
    assert {outcome.error for outcome in report.outcomes[2:]} == {str(error)}
    assert len(writes_of(harness.server)) == 2


async def test_stop_finishes_the_call_in_flight(make: Make) -> None:
    """Asked to stop, the call in flight gets its outcomes and the rest is `not-attempted`."""
    harness = make(batch=2)
    harness.want(*(entry(f"{n}") for n in range(6)))
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True

    changes = await harness.plan()
    harness.server.before_change(stop)
    report = await harness.apply(changes, stop=lambda: stopped)
    assert list(kinds(report).values()) == ["applied"] * 2 + ["not-attempted"] * 4
    assert len(harness.server.contents("web")) == 2


async def test_stop_does_not_wait_for_a_retry(make: Make) -> None:
    """A call that waits for its next attempt when stop comes is settled as `not-attempted`, in the journal too."""
    harness = make()
    harness.want(entry("a"))
    changes = await harness.plan()
    harness.server.throttle(50.0)
    report = await harness.apply(changes, stop=after(4))
    assert kinds(report) == {"a": "not-attempted"}
    assert harness.journal() == {"a": OutcomeKind.NOT_ATTEMPTED}
    assert harness.clock.monotonic() < 5


async def test_progress_counts_every_outcome_once(make: Make) -> None:
    """The counts passed to progress add up to the changes that have an outcome."""
    harness = make(batch=3)
    harness.want(*(entry(f"{n}") for n in range(10)))
    counts: list[int] = []
    await harness.apply(progress=counts.append)
    assert sum(counts) == 10


async def test_nothing_to_do_sends_nothing(harness: ApplyHarness) -> None:
    """No changes, no calls, no journal rows."""
    report = await harness.apply([])
    assert report.outcomes == ()
    assert harness.server.calls == []


async def test_cancelling_leaves_no_call_behind_and_the_next_run_converges(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled in the middle, nothing runs on, the intents stay readable as unsettled, and the next apply finishes."""
    harness = make(batch=1, concurrency=4)
    write, reached = harness.store.write, asyncio.Event()

    async def hanging(namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        results = await write(namespace, writes)
        if len(harness.server.contents("web")) > 3:
            reached.set()
            await asyncio.Event().wait()
        return results

    monkeypatch.setattr(harness.store, "write", hanging)
    harness.want(*(entry(f"{n:02}") for n in range(20)))
    running = asyncio.create_task(harness.apply())
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(asyncio.all_tasks()) == 1
    journal = harness.journal()
    assert OutcomeKind.APPLIED in journal.values()
    assert None in journal.values()
    monkeypatch.undo()
    await harness.apply()
    assert len(harness.server.contents("web")) == 20
    assert await harness.plan() == []
