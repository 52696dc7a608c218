"""Back-off: its bounds, its jitter, and what a server asks for."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.util.backoff import LONG_RUNNING, Backoff, BackoffPolicy

POLICY = BackoffPolicy(base=0.5, cap=30)


@pytest.mark.parametrize(("failures", "longest"), [(1, 0.5), (2, 1), (3, 2), (7, 30), (100_000, 30)])
def test_the_bound_doubles_up_to_the_cap(failures: int, longest: float) -> None:
    """The first wait is up to the base; no number of failures takes it beyond the cap."""
    assert POLICY.longest(failures) == longest


@given(failures=st.integers(1, 200), seed=st.integers(), retry_after=st.none() | st.floats(0, 3600))
def test_a_wait_is_anywhere_up_to_the_bound(failures: int, seed: int, retry_after: float | None) -> None:
    """Full jitter, on top of what the server asks for and never instead of it."""
    asked = retry_after or 0
    assert asked <= POLICY.delay(failures, Random(seed), retry_after) <= asked + POLICY.longest(failures)


def test_waits_are_spread_over_the_whole_range() -> None:
    """Clients that failed at the same time do not come back at the same time."""
    rng = Random(1)
    waits = [POLICY.delay(7, rng) for _ in range(1000)]
    assert min(waits) < 1 < 29 < max(waits)


def test_success_ends_the_back_off() -> None:
    """After a success the next failure counts as the first."""
    backoff = Backoff(Random(1), POLICY)
    for _ in range(20):
        backoff.fail()
    backoff.reset()
    assert backoff.fail() <= POLICY.base


def test_giving_up_waits_long_at_once() -> None:
    """What time alone does not heal is tried rarely from the start."""
    backoff = Backoff(Random(1))
    assert all(LONG_RUNNING.cap / 2 <= backoff.give_up() <= LONG_RUNNING.cap for _ in range(100))
