"""Cron expressions, held against a reading of the definition minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvsync.planning.cron import Cron

ZONES = [
    "UTC",
    "Europe/Paris",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "America/Nuuk",
    "Asia/Kolkata",
]
MINUTE = 60
DAY = 86_400


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def shown(moment: float | None, zone: str = "UTC") -> str:
    assert moment is not None
    return datetime.fromtimestamp(moment, ZoneInfo(zone)).strftime("%a %Y-%m-%d %H:%M %z")


@pytest.mark.parametrize(
    ("text", "after", "fires"),
    [
        ("0 22 * * 5", "2026-11-16", "Fri 2026-11-20 22:00"),
        ("0 22 * * fri", "2026-11-20T22:00", "Fri 2026-11-27 22:00"),
        ("0 0 * * 0", "2026-11-16", "Sun 2026-11-22 00:00"),
        ("0 0 * * 7", "2026-11-16", "Sun 2026-11-22 00:00"),
        ("0 0 * * sat-sun", "2026-11-21T12:00", "Sun 2026-11-22 00:00"),
        ("*/15 * * * *", "2026-11-16T10:01", "Mon 2026-11-16 10:15"),
        ("5-20/5 3 * * *", "2026-11-16T03:05", "Mon 2026-11-16 03:10"),
        ("0 0 13 * 5", "2026-11-14", "Fri 2026-11-20 00:00"),
        ("0 0 13 * */2", "2026-11-14", "Sun 2026-12-13 00:00"),
        ("30 6 1 JAN *", "2026-11-14", "Fri 2027-01-01 06:30"),
        ("0 0 29 2 *", "2097-01-01", "Fri 2104-02-29 00:00"),
    ],
)
def test_fires_as_crontab_says(text: str, after: str, fires: str) -> None:
    """Weekdays count from Sunday, names work, and either of two restricted day fields is enough."""
    assert shown(Cron.parse(text).after(at(after), UTC)).startswith(fires)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("* * * *", "5"),
        ("* * * * * *", "5"),
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day of the month"),
        ("* * * foo *", "month"),
        ("* * * * 8", "day of the week"),
        ("5-1 * * * *", "before it begins"),
        ("*/0 * * * *", "step"),
        ("3/5 * * * *", "step"),
        ("², * * * *", "minute"),
        (", * * * *", "minute"),
        ("0 0 31 2,4 *", "never fires"),
        ("", "5"),
    ],
)
def test_what_is_wrong_is_said(text: str, word: str) -> None:
    """An expression that makes no sense is refused with the field that is wrong."""
    with pytest.raises(ValueError, match=word):
        Cron.parse(text)


def test_a_time_that_does_not_exist_fires_after_the_jump() -> None:
    """In the night when the clock jumps, 02:30 fires as much later, and not the day after."""
    moment = Cron.parse("30 2 * * *").after(at("2026-03-29T00:00", "Europe/Paris"), ZoneInfo("Europe/Paris"))
    assert shown(moment, "Europe/Paris") == "Sun 2026-03-29 03:30 +0200"


def test_a_time_that_exists_twice_fires_once() -> None:
    """In the night when the clock goes back, 02:30 fires the first time only."""
    zone = ZoneInfo("Europe/Paris")
    first = Cron.parse("30 2 * * *").after(at("2026-10-25T00:00", "Europe/Paris"), zone)
    assert first is not None
    assert shown(first, "Europe/Paris") == "Sun 2026-10-25 02:30 +0200"
    assert shown(Cron.parse("30 2 * * *").after(first, zone), "Europe/Paris") == "Mon 2026-10-26 02:30 +0100"


def test_a_beat_does_not_pause_when_the_clock_goes_back() -> None:
    """Every quarter of an hour stays every quarter of an hour, whatever the clock does."""
    cron, zone = Cron.parse("*/15 * * * *"), ZoneInfo("Europe/Paris")
    for night in ("2026-10-25T00:00", "2026-03-29T00:00"):
        moment = at(night, "Europe/Paris")
        for _ in range(24):
            later = cron.after(moment, zone)
            assert later == moment + 15 * MINUTE
            moment = later


moments = st.integers(int(at("2024-01-01")), int(at("2034-01-01")))
numbers = st.integers(0, 59)


@st.composite
def crons(draw: st.DrawFn) -> str:
    hour = draw(st.sampled_from(["*", "*/2", "0", "1", "2", "3", "23", "0-5"]))
    month_day = draw(st.sampled_from(["*", "*/2", "1", "13,28", "31"]))
    weekday = draw(st.sampled_from(["*", "0", "1-5", "fri", "6,7"]))
    month = draw(st.sampled_from(["*", "3,4,10,11", "jan-dec"]))
    return f"{draw(st.sampled_from(['0', '30', '*/20', '7,59']))} {hour} {month_day} {month} {weekday}"


@settings(max_examples=50, deadline=None)
@given(text=crons(), zone=st.sampled_from(ZONES), start=moments)
def test_agrees_with_the_definition_away_from_clock_changes(text: str, zone: str, start: int) -> None:
    """The next time is the first whole minute whose fields all match on the local clock."""
    cron, local = Cron.parse(text), ZoneInfo(zone)
    begin = start - start % MINUTE
    if _offset(begin - DAY, local) != _offset(begin + 3 * DAY, local):
        return
    naive = (begin + step * MINUTE for step in range(1, 2 * DAY // MINUTE))
    expected = next((moment for moment in naive if _matches(text, datetime.fromtimestamp(moment, local))), None)
    found = cron.after(begin, local)
    assert found is not None
    assert found == expected if expected is not None else found > begin + 2 * DAY - MINUTE


@given(text=crons(), zone=st.sampled_from(ZONES), start=moments)
def test_always_goes_on(text: str, zone: str, start: int) -> None:
    """The next time lies after the present one, and there is none between the two, in every zone and season."""
    cron, local = Cron.parse(text), ZoneInfo(zone)
    first = cron.after(start, local)
    assert first is not None
    assert first > start
    assert cron.after(first - 1, local) == first
    assert cron.after((start + first) / 2, local) == first


def _offset(moment: float, zone: ZoneInfo) -> timedelta | None:
    return datetime.fromtimestamp(moment, zone).utcoffset()


def _matches(text: str, time: datetime) -> bool:
    """Say what the definition says, in the plainest way."""
    minute, hour, day, month, weekday = text.lower().replace("jan-dec", "*").replace("fri", "5").split()
    time_fits = _in(minute, time.minute, 0) and _in(hour, time.hour, 0) and _in(month, time.month, 1)
    day_fits, week_fits = (
        _in(day, time.day, 1),
        _in(weekday, time.isoweekday() % 7, 0) or _in(weekday, time.isoweekday(), 0),
    )
    if day.startswith("*") or weekday.startswith("*"):
        return time_fits and day_fits and week_fits
    return time_fits and (day_fits or week_fits)


def _in(field: str, number: int, first: int) -> bool:
    if field.startswith("*"):
        return (number - first) % int(field[2:] or 1) == 0
    if "-" in field:
        low, high = field.split("-")
        return int(low) <= number <= int(high)
    return number in map(int, field.split(","))
