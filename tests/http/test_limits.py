"""Waiting times that servers name, rates, and the budget of repetitions."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.http.rate_limits import RetryBudget, TokenBucket
from kvsync.http.retry_after import retry_after
from kvsync.testing import FakeClock

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after-ms": "10"}, 0.01),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "7"}, 7),
        ({"retry-after": formatdate(NOW + 90, usegmt=True)}, 90),
        ({"retry-after": formatdate(NOW - 90, usegmt=True)}, 0),
        ({"retry-after-ms": "10", "x-ms-retry-after-ms": "20", "retry-after": "30"}, 0.01),
        ({"retry-after-ms": "soon", "retry-after": "30"}, 30),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Fri, 99 Foo 2026"}, None),
    ],
)
def test_the_wait_that_a_server_names(headers: dict[str, str], seconds: float | None) -> None:
    """Milliseconds go before seconds, dates are told from numbers, and what makes no sense is as if it were not there."""
    assert retry_after(headers, NOW) == seconds


@given(st.text())
def test_no_header_is_too_strange(text: str) -> None:
    """Whatever stands in the header, the result is no wait or one that is not negative."""
    wait = retry_after({"retry-after": text}, NOW)
    assert wait is None or wait >= 0


@given(st.floats(0.5, 500), st.integers(1, 300))
def test_a_bucket_never_lets_more_through(rate: float, calls: int) -> None:
    """In any time, no more calls pass than the rate allows beyond the first second's worth, and hardly fewer."""

    async def take() -> float:
        clock = FakeClock()
        bucket = TokenBucket(rate, clock)
        for _ in range(calls):
            await bucket.take()
        return clock.monotonic()

    seconds = asyncio.run(take())
    assert calls <= rate * seconds + max(rate, 1) + 0.01
    assert seconds <= calls / rate + 0.01


def test_repetitions_are_earned() -> None:
    """The reserve runs out; each call that is answered well pays for one more, up to the reserve."""
    budget = RetryBudget(reserve=2)
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    budget.earn()
    assert [budget.spend(), budget.spend()] == [True, False]
    for _ in range(10):
        budget.earn()
    assert [budget.spend() for _ in range(3)] == [True, True, False]
