from __future__ import annotations

import asyncio
import errno
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.errors import TransientError
from kvsync.model.capabilities import Capabilities
from kvsync.stores.pacing import ATTEMPTS_IN_SHORTAGE, DOWN_AFTER, ConcurrencyLimiter, RetryPolicy, RetryState, Stopped
from kvsync.testing import FakeClock


def patience(
    clock: FakeClock, retry: RetryPolicy, pace: ConcurrencyLimiter | None = None, *, stopped: bool = False
) -> RetryState:
    return RetryState(retry, pace or ConcurrencyLimiter(4), clock, random.Random(1), lambda: stopped)


def test_the_limit_starts_low_grows_by_success_and_halves_when_throttled() -> None:
    """Concurrency triples every round until the store pushes back; from then on it grows by about one a round, up to its bound,
    and halves, never under one, at every push."""
    pace = ConcurrencyLimiter(64)
    assert pace.limit == 4
    for limit in (12, 36, 64, 64):
        for _ in range(pace.limit):
            pace.succeeded()
        assert pace.limit == limit
    pace.throttled(0)
    assert pace.limit == 32
    for _ in range(32):
        pace.succeeded()
    assert pace.limit in (32, 33)
    for _ in range(4000):
        pace.succeeded()
    assert pace.limit == 64
    for _ in range(10):
        pace.throttled(0)
    assert pace.limit == 1


@pytest.mark.parametrize(("batch", "configured", "most"), [(1, None, 6), (1, 3, 3), (100, None, 1), (100, 5, 1)])
def test_only_calls_of_one_go_together(batch: int, configured: int | None, most: int) -> None:
    """A store that takes batches gets them one at a time; others as many calls as configured, or as they declare."""
    capabilities = Capabilities(type="x", namespace="n", batch=batch, concurrency=6)
    assert ConcurrencyLimiter.of(capabilities, configured).most == most


async def test_no_more_calls_are_in_flight_than_the_limit_says() -> None:
    """However many want to send, no more than the limit do at once, and all get their turn."""
    pace, running, most, done = ConcurrencyLimiter(3), 0, 0, 0

    async def call() -> None:
        nonlocal running, most, done
        async with pace.slot():
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            done += 1
            pace.succeeded()

    await asyncio.gather(*(call() for _ in range(50)))
    assert (most, done) == (3, 50)


async def test_a_cancelled_wait_gives_its_turn_to_the_next() -> None:
    """Cancelling who waits for a slot neither takes the slot nor blocks those behind."""
    pace = ConcurrencyLimiter(1)
    async with pace.slot():
        waiting = [asyncio.create_task(_pass_through(pace)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
    assert await asyncio.gather(*waiting[1:]) == [True, True]
    async with pace.slot():
        pass


async def test_cancelling_at_the_very_moment_of_the_turn_loses_no_slot() -> None:
    """A waiter that is woken and cancelled in the same tick passes the turn on."""
    pace = ConcurrencyLimiter(1)
    async with pace.slot():
        waiting = [asyncio.create_task(_pass_through(pace)) for _ in range(2)]
        await asyncio.sleep(0)
    waiting[0].cancel()
    assert await waiting[1]


async def _pass_through(pace: ConcurrencyLimiter) -> bool:
    async with pace.slot():
        return True


@given(seed=st.integers(), failures=st.integers(1, 6))
def test_waits_are_jittered_under_a_doubling_ceiling(seed: int, failures: int) -> None:
    """Each wait lies between nothing and base * 2^n, never above the cap."""

    async def waits() -> list[float]:
        clock = FakeClock()
        asked = RetryState(
            RetryPolicy(10, 10_000, base=1, cap=8), ConcurrencyLimiter(1), clock, random.Random(seed), lambda: False
        )
        spans = []
        for _ in range(failures):
            began = clock.monotonic()
            await asked.wait(TransientError("no"))
            spans.append(clock.monotonic() - began)
        return spans

    spans = asyncio.run(waits())
    assert all(0 <= span <= min(8, 2**nth) + 1e-6 for nth, span in enumerate(spans))


async def test_the_stores_request_is_a_lower_bound() -> None:
    """`retry_after` is waited out in full, and holds everybody else back too."""
    clock, pace = FakeClock(), ConcurrencyLimiter(4)
    await patience(clock, RetryPolicy(), pace).wait(TransientError("slow down", retry_after=20))
    assert clock.monotonic() >= 20
    pace.throttled(clock.monotonic() + 5)
    resume_at = pace.resume_at
    await patience(clock, RetryPolicy(), pace).hold()
    assert clock.monotonic() >= resume_at - 1e-6


async def test_attempts_and_deadline_end_patience() -> None:
    """After the given number of attempts, or when the next would come after the deadline, the error is raised."""
    clock = FakeClock()
    asked = patience(clock, RetryPolicy(attempts=3, deadline=100, base=1, cap=1))
    await asked.wait(TransientError("1"))
    await asked.wait(TransientError("2"))
    with pytest.raises(TransientError, match="3"):
        await asked.wait(TransientError("3"))
    began = clock.monotonic()
    with pytest.raises(TransientError):
        await patience(clock, RetryPolicy(deadline=100)).wait(TransientError("x", retry_after=101))
    assert clock.monotonic() == began


async def test_success_renews_patience() -> None:
    """A call that goes on well after failures may fail as often again."""
    asked = patience(FakeClock(), RetryPolicy(attempts=2, deadline=100, base=1, cap=1))
    for _ in range(5):
        await asked.wait(TransientError("x"))
        asked.succeeded()


async def test_after_one_call_was_given_up_the_next_gets_one_attempt_until_something_succeeds() -> None:
    """A store that is down is not waited for once per entry, and after enough calls in a row it counts as down."""
    pace = ConcurrencyLimiter(1)
    pace.count_failure()
    with pytest.raises(TransientError):
        await patience(FakeClock(), RetryPolicy(attempts=9), pace).wait(TransientError("x"))
    seen = [pace.is_down]
    for _ in range(DOWN_AFTER):
        pace.count_failure()
    seen.append(pace.is_down)
    pace.succeeded()
    assert [*seen, pace.is_down] == [False, True, False]
    await patience(FakeClock(), RetryPolicy(attempts=9), pace).wait(TransientError("x"))


async def test_stopping_ends_a_long_wait() -> None:
    """Asked to stop, nobody waits out a store's Retry-After."""
    clock = FakeClock()
    with pytest.raises(Stopped):
        await patience(clock, RetryPolicy(), stopped=True).wait(TransientError("x", retry_after=60))
    assert clock.monotonic() < 1


async def test_a_long_rest_is_not_waited_for() -> None:
    """A call waits while another one was told to, but not for a rest that is longer than its own patience: it asks itself."""
    clock, pace = FakeClock(), ConcurrencyLimiter(4)
    call = patience(clock, RetryPolicy(deadline=120), pace)
    began = clock.monotonic()
    pace.throttled(began + 86_400)
    await call.hold()
    assert clock.monotonic() == began
    assert call.is_rest(TransientError("later", 86_400))
    assert not call.is_rest(TransientError("later", 120))


@pytest.mark.parametrize(
    ("cause", "calls"),
    [(MemoryError(), ATTEMPTS_IN_SHORTAGE), (OSError(errno.EMFILE, "x"), ATTEMPTS_IN_SHORTAGE), (OSError("reset"), 8)],
    ids=["memory", "descriptors", "network"],
)
async def test_a_call_that_this_machine_has_no_room_for_is_left_to_the_next_pass(cause: Exception, calls: int) -> None:
    """Nobody who waits for a command waits minutes for memory."""
    error = TransientError("failed")
    error.__cause__ = cause
    retries, waits = patience(FakeClock(), RetryPolicy(deadline=10_000)), 0

    async def retry_forever() -> None:
        nonlocal waits
        while True:
            waits += 1
            await retries.wait(error)

    with pytest.raises(TransientError):
        await retry_forever()
    assert waits == calls
