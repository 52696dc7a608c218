"""Waiting times that servers name, rates, and the budget of repetitions."""

from __future__ import annotations

import asyncio
import math
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.errors import TransientError
from kvsync.http.client import Client
from kvsync.http.client_options import ClientLimits, ClientOptions
from kvsync.http.model import NotAnsweredError, Request
from kvsync.http.paging import ListingLimit
from kvsync.http.rate_limits import RetryBudget, TokenBucket
from kvsync.http.retry_after import retry_after
from kvsync.http.transport import Transport
from kvsync.model.answer_limits import AnswerLimits
from kvsync.model.health import Traffic
from kvsync.testing import FakeClock
from kvsync.util.clock import Clock
from tests.http.script_server import says, serving

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
    """Milliseconds go before seconds, dates are distinguished from numbers, and what makes no sense is as if it were not
    there."""
    assert retry_after(headers, NOW) == seconds


@given(st.text())
def test_no_header_is_too_strange(text: str) -> None:
    """Whatever stands in the header, the result is None or not negative."""
    wait = retry_after({"retry-after": text}, NOW)
    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (None, None),
        (0.5, 0.5),
        (86_400, 86_400),
        (-5, 0),
        (86_401, None),
        (1e305, None),
        (math.inf, None),
        (-math.inf, 0),
        (math.nan, None),
    ],
)
def test_a_wait_that_no_store_can_mean_is_ignored(asked: float | None, kept: float | None) -> None:
    """Whoever raises it, an error asks for a wait from nothing to a day, or for none."""
    assert TransientError("later", asked).retry_after == kept


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
    budget.record_success()
    assert [budget.spend(), budget.spend()] == [True, False]
    for _ in range(10):
        budget.record_success()
    assert [budget.spend() for _ in range(3)] == [True, True, False]


class TestListings:
    """A listing ends: by its own end, or with an error that names the limit."""

    LIMITS = AnswerLimits(listing_pages=3, listing_entries=20, listing_bytes=1000, listing_time=60)

    def test_one_that_fits(self) -> None:
        """A listing may use each limit up, and unchanged pages have no entries to count."""
        limit = ListingLimit("listing web", self.LIMITS, FakeClock())
        limit.count(10, 500)
        limit.count(0, 0, is_known=True)
        limit.count(10, 500, is_last=True)

    @pytest.mark.parametrize(
        ("name", "entries", "size", "seconds"),
        [
            ("listing_pages", 1, 1, 0),
            ("listing_entries", 11, 1, 0),
            ("listing_bytes", 1, 501, 0),
            ("listing_time", 1, 1, 31),
        ],
    )
    def test_one_that_never_ends(self, name: str, entries: int, size: int, seconds: float) -> None:
        """Pages that always bring something new are ended by the first limit they reach, which the error names."""
        clock = FakeClock()
        limit = ListingLimit("listing web", self.LIMITS, clock)
        for _ in range(2 if name == "listing_pages" else 1):
            limit.count(entries, size)
        clock.advance(2 * seconds)
        with pytest.raises(TransientError, match=rf"listing web was ended .*limits\.{name} is"):
            limit.count(entries, size)

    def test_one_of_empty_pages(self) -> None:
        """Empty pages in a row are bounded apart, whatever the limit on pages is."""
        limit = ListingLimit("listing web", AnswerLimits(), FakeClock())
        for _ in range(99):
            limit.count(0, 10)
        with pytest.raises(TransientError, match="100 empty pages in a row"):
            limit.count(0, 10)


@pytest.mark.parametrize(
    ("status", "limits"), [(200, AnswerLimits(answer=1000)), (500, AnswerLimits(error_answer=1000))]
)
async def test_an_answer_has_a_limit(status: int, limits: AnswerLimits) -> None:
    """A result that is too long is an error that names the limit; of an error no more is read than that."""
    async with serving(says(status, b"x" * 2_000_000)) as server:
        wire = Transport(server.origin, 1, limits=limits)
        call = wire.exchange(Request("GET", "/a", "reading"), {}, 5)
        if status == 200:
            with pytest.raises(NotAnsweredError, match=r"longer than 1,000 bytes \(limits.answer\)"):
                await call
        else:
            assert len((await call).body) < 2_000_000
        await wire.aclose()


async def test_an_answer_that_is_too_long_is_asked_for_once() -> None:
    """The next one would be too long again, so a read is not repeated; the message names the limit."""
    async with serving(says(200, b"x" * 2_000_000)) as server:
        limits = ClientLimits(answers=AnswerLimits(answer=1000))
        client = Client("store x", server.origin, Clock(), Traffic(), ClientOptions(limits=limits))
        with pytest.raises(TransientError, match=r"store x: reading failed: the response is longer than 1,000 bytes"):
            await client.send(Request("GET", "/a", "reading"))
        await client.aclose()
        assert len(server.seen) == 1
