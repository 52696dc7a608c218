"""The quota: never more calls than it allows in any stretch of time, and slower where the server says that little is left."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.http.quota import Quota, RemainingQuota
from kvsync.testing import FakeClock


@given(st.integers(1, 20), st.lists(st.floats(0, 40), max_size=80))
def test_no_stretch_of_time_holds_more_calls(most: int, pauses: list[float]) -> None:
    """However the calls come, no more of them than allowed go in any such time, and none waits without need."""

    async def take() -> list[float]:
        clock, turns = FakeClock(), []
        quota = Quota(most, 30, clock)
        for pause in pauses:
            clock.advance(pause)
            before = clock.monotonic()
            await quota.take()
            turns.append(clock.monotonic())
            recent = sum(turn > before - 31 for turn in turns[:-1])
            assert recent >= most or turns[-1] == before
        return turns

    turns = asyncio.run(take())
    for index, turn in enumerate(turns):
        assert sum(turn <= other < turn + 30 for other in turns[index:]) <= most


async def test_calls_that_come_together_go_in_turn() -> None:
    """Callers who wait at the same time get turns one after another."""
    clock = FakeClock()
    quota = Quota(2, 10, clock)
    await asyncio.gather(*(quota.take() for _ in range(5)))
    assert clock.monotonic() >= 22
    assert quota.left == 0 or quota.left == 1


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ('"default";r=50;t=30', RemainingQuota(50, 30)),
        ('"default"; t=30 ; r=0', RemainingQuota(0, 30)),
        ('"burst";r=90;t=10, "default";r=7;t=200', RemainingQuota(7, 200)),
        ("", None),
        ('"default";r=many;t=30', None),
        ("nonsense", None),
    ],
)
def test_what_the_server_says(text: str, reported: RemainingQuota | None) -> None:
    """The tightest of the limits in the header counts, and what makes no sense is as if it were not there."""
    quota = Quota(1200, 300, FakeClock())
    quota.observe({"ratelimit": text})
    assert quota.reported == reported


async def test_what_is_left_is_spread() -> None:
    """When little is left calls are spread over the time until there is more, and go freely again from then on."""
    clock = FakeClock()
    quota = Quota(1200, 300, clock)
    await quota.take()
    quota.observe({"ratelimit": '"default";r=10;t=50'})
    for _ in range(10):
        await quota.take()
    assert clock.monotonic() == pytest.approx(50)
    for _ in range(100):
        await quota.take()
    assert clock.monotonic() == pytest.approx(50)


async def test_nothing_goes_when_nothing_is_left() -> None:
    """With nothing left the next call waits for the moment that the server names."""
    clock = FakeClock()
    quota = Quota(1200, 300, clock)
    await quota.take()
    quota.observe({"ratelimit": '"default";r=0;t=40'})
    await quota.take()
    assert clock.monotonic() == pytest.approx(40)


async def test_plenty_slows_nothing() -> None:
    """As long as much is left no call waits."""
    clock = FakeClock()
    quota = Quota(1200, 300, clock)
    for left in range(1199, 1100, -1):
        await quota.take()
        quota.observe({"ratelimit": f'"default";r={left};t=290'})
    assert clock.monotonic() == 0


async def test_a_quota_is_whole_again_after_its_own_time() -> None:
    """A server that says that nothing is left for 30,000 years is believed for as long as the allowance takes."""
    clock = FakeClock()
    quota = Quota(1200, 300, clock)
    await quota.take()
    quota.observe({"ratelimit": '"a";r=0;t=999999999999'})
    began = clock.monotonic()
    await quota.take()
    assert clock.monotonic() - began <= 301
