"""Windows: when applying is denied, and until when."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvsync.config.model import Window
from kvsync.daemon.windows import is_denied, next_change
from tests.support.examples import examples

PARIS = ZoneInfo("Europe/Paris")
HOUR = 3600
WEEKEND = Window("0 22 * * 5", 60 * HOUR, "Europe/Paris")
OFFICE = Window("0 9 * * 1-5", 8 * HOUR, "Europe/Paris", deny=False)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS).timestamp()


@pytest.mark.parametrize(
    ("now", "denied"),
    [
        ("2026-11-20T21:59:59", False),
        ("2026-11-20T22:00:00", True),
        ("2026-11-22T12:00:00", True),
        ("2026-11-23T09:59:59", True),
        ("2026-11-23T10:00:00", False),
    ],
)
def test_the_window_of_the_specification_is_the_weekend(now: str, denied: bool) -> None:
    """`0 22 * * 5` for 60 hours is Friday evening to Monday morning, its first moment in, its last one out."""
    assert (is_denied([WEEKEND], at(now)) is WEEKEND) == denied


def test_no_windows_never_deny() -> None:
    """Without windows applying is allowed, and that does not change."""
    assert is_denied([], at("2026-11-20T22:00")) is None
    assert next_change([], at("2026-11-20T22:00")) is None


def test_outside_all_allow_windows_is_denied() -> None:
    """Where something is allowed at certain times, it is denied at others; the answer is the window that opens next."""
    assert is_denied([OFFICE], at("2026-11-20T12:00")) is None
    assert is_denied([OFFICE], at("2026-11-21T12:00")) is OFFICE
    assert next_change([OFFICE], at("2026-11-21T12:00")) == at("2026-11-23T09:00")


def test_deny_wins_over_allow() -> None:
    """A moment that one window allows and another denies is denied."""
    freeze = Window("0 0 20 11 *", 24 * HOUR, "Europe/Paris")
    assert is_denied([OFFICE, freeze], at("2026-11-20T12:00")) is freeze


def test_windows_that_touch_are_one_stretch() -> None:
    """The next change is where denying ends, not where one window hands over to the next."""
    halves = [Window("0 0 * * *", 12 * HOUR), Window("0 12 * * 1-6", 12 * HOUR)]
    zone = ZoneInfo("UTC")
    monday, sunday = datetime(2026, 11, 16, 5, tzinfo=zone), datetime(2026, 11, 22, 12, tzinfo=zone)
    assert next_change(halves, monday.timestamp()) == sunday.timestamp()


def test_windows_without_end_never_change() -> None:
    """Windows that follow each other forever have no next change."""
    assert next_change([Window("0 0 * * *", 24 * HOUR)], at("2026-11-20T22:00")) is None


def test_a_window_lasts_real_hours_when_the_clock_changes() -> None:
    """Sixty hours are sixty hours, also over the night when the clock goes back."""
    opened = datetime(2026, 10, 23, 22, tzinfo=PARIS).timestamp()
    assert next_change([WEEKEND], opened) == opened + 60 * HOUR


windows = st.builds(
    Window,
    cron=st.sampled_from(["0 22 * * 5", "30 2 * * *", "0 */6 * * *", "0 0 1 * *", "15 1 * 3,10 0"]),
    duration=st.sampled_from([600.0, 1 * HOUR, 5 * HOUR, 36 * HOUR]),
    timezone=st.sampled_from(["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "America/Havana"]),
    deny=st.booleans(),
)
moments = st.integers(int(at("2025-01-01")), int(at("2030-01-01")))


@pytest.mark.system
@settings(max_examples=examples(50), deadline=None)
@given(given=st.lists(windows, max_size=3), now=moments, share=st.floats(0, 0.999))
def test_nothing_changes_before_the_next_change(given: list[Window], now: int, share: float) -> None:
    """Between now and the next change the answer stays, and at the next change it is the other one."""
    denied, change = is_denied(given, now) is not None, next_change(given, now)
    if change is None:
        assert denied == (is_denied(given, now + share * 24 * HOUR) is not None)
        return
    assert change > now
    assert (is_denied(given, now + share * (change - now)) is not None) == denied
    assert (is_denied(given, change - 1) is not None) == denied or change - now <= 1
    assert (is_denied(given, change) is not None) != denied


@given(given=st.lists(windows, max_size=3), now=moments)
def test_a_deny_window_in_force_is_the_answer(given: list[Window], now: int) -> None:
    """What denies is a deny window whenever one is open."""
    denying = [window for window in given if window.deny and is_denied([window], now)]
    answer = is_denied(given, now)
    if denying:
        assert answer == denying[0]
    elif answer is not None:
        assert not answer.deny
