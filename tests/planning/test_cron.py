"""Cron expressions, held against a reading of the definition minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvsync.planning.cron import Cron
from tests.support.examples import examples

ZONES = [
    "UTC",
    "Europe/Paris",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "America/Nuuk",
    "Antarctica/Troll",
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
        ("5-5/2 3 * * *", "2026-11-16T03:05", "Tue 2026-11-17 03:05"),
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
        ("*/² * * * *", "step"),
        ("0 0 L * *", "day of the month"),
        ("0 0 * * 5L", "day of the week"),
        ("0 0 * * fri#2", "day of the week"),
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


def test_a_skipped_time_fires_right_after_the_skip() -> None:
    """In the night when the clock skips 02:00 to 03:00, 02:30 fires at 03:00, as in Debian's cron."""
    moment = Cron.parse("30 2 * * *").after(at("2026-03-29T00:00", "Europe/Paris"), ZoneInfo("Europe/Paris"))
    assert shown(moment, "Europe/Paris") == "Sun 2026-03-29 03:00 +0200"


@pytest.mark.parametrize(
    ("text", "after", "zone", "fires"),
    [
        ("*/20 2 * * *", "2026-03-28T12:00", "Europe/Paris", "Mon 2026-03-30 02:00 +0200"),
        ("*/20 1 * * *", "2033-03-12T12:00", "America/Havana", "Sun 2033-03-13 01:00 -0400"),
        ("*/20 23 * * *", "2028-10-01T00:10", "Australia/Lord_Howe", "Sun 2028-10-01 23:00 +1100"),
    ],
)
def test_an_expression_with_a_star_follows_the_clock(text: str, after: str, zone: str, fires: str) -> None:
    """With `*` in minute or hour, skipped times do not fire and all others do, whatever the clock skips."""
    assert shown(Cron.parse(text).after(at(after, zone), ZoneInfo(zone)), zone) == fires


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


@settings(max_examples=examples(50), deadline=None)
@given(text=crons(), zone=st.sampled_from(ZONES), start=moments)
def test_agrees_with_the_definition(text: str, zone: str, start: int) -> None:
    """The next time is the first whole minute whose fields all match on the local clock."""
    _compare(text, zone, start)


@settings(max_examples=examples(50), deadline=None)
@given(text=crons(), zone=st.sampled_from(ZONES), year=st.integers(2024, 2033), data=st.data())
def test_agrees_with_the_definition_when_the_clock_changes(
    text: str, zone: str, year: int, data: st.DataObject
) -> None:
    """The same holds on the day before a clock change, and in the hours after it."""
    local, first = ZoneInfo(zone), int(at(f"{year}-01-01"))
    changes = [time for time in range(first, first + 366 * DAY, DAY // 2) if _changes(time, time + DAY // 2, local)]
    if changes:
        _compare(text, zone, data.draw(st.sampled_from(changes)) + data.draw(st.integers(-DAY // 2, DAY // 2)))


@given(text=crons(), zone=st.sampled_from(ZONES), start=moments)
def test_always_goes_on(text: str, zone: str, start: int) -> None:
    """The next time lies after the present one, and there is none between the two, in every zone and season."""
    cron, local = Cron.parse(text), ZoneInfo(zone)
    first = cron.after(start, local)
    assert first is not None
    assert first > start
    assert cron.after(first - 1, local) == first
    assert cron.after((start + first) / 2, local) == first


def _compare(text: str, zone: str, start: int) -> None:
    """Compare with the definition, minute by minute for two days."""
    cron, local = Cron.parse(text), ZoneInfo(zone)
    begin = start - start % MINUTE
    later = (begin + step * MINUTE for step in range(1, 2 * DAY // MINUTE))
    expected = next((moment for moment in later if _fires(text, moment, local)), None)
    found = cron.after(begin, local)
    assert found is not None
    assert found == expected if expected is not None else found > begin + 2 * DAY - MINUTE


def _fires(text: str, moment: float, zone: ZoneInfo) -> bool:
    """Say whether it fires, as Debian's crontab(5) defines it, clock changes included."""
    time = datetime.fromtimestamp(moment, zone)
    if any(field.startswith("*") for field in text.split()[:2]):
        return _matches(text, time)
    skipped = _minutes_skipped_before(moment, zone)
    return not time.fold and any(_matches(text, time - timedelta(minutes=back)) for back in range(skipped + 1))


def _minutes_skipped_before(moment: float, zone: ZoneInfo) -> int:
    """How many minutes the clock leaves out right before it shows this one."""
    jump = _offset(moment, zone) - _offset(moment - MINUTE, zone)
    return max(0, int(jump.total_seconds())) // MINUTE


def _changes(first: float, last: float, zone: ZoneInfo) -> bool:
    return _offset(first, zone) != _offset(last, zone)


def _offset(moment: float, zone: ZoneInfo) -> timedelta:
    return datetime.fromtimestamp(moment, zone).utcoffset() or timedelta(0)


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
