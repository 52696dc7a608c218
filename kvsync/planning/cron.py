"""Cron expressions as in crontab(5): computes the next time, in any time zone, across clock changes.

Five fields: minute, hour, day of the month, month, day of the week. Sunday is 0 and 7; months and weekdays may be named; when
both day fields are restricted, either is enough. Around a clock change: a time that does not exist that day fires as much
later as the clock jumped, and a time that exists twice fires once, or both times when the hour begins with `*`.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_HORIZON_DAYS = 366 * 9
"""A 29 February may be eight years away (around 2100)."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()

    def parse(self, text: str) -> frozenset[int]:
        """Return the numbers the field's text represents. Raises ValueError."""
        return frozenset(number for part in text.split(",") for number in self._range(part))

    def _range(self, part: str) -> range:
        span, slash, step_text = part.partition("/")
        step = int(step_text) if step_text.isdecimal() else 0
        low, dash, high = span.partition("-")
        if (slash and step < 1) or (slash and not dash and span != "*"):
            raise ValueError(f"{self.name}: '{part}' is not a step; write '*/N' or 'A-B/N'")
        if span == "*":
            return range(self.first, self.last + 1, step or 1)
        start = self._number(low)
        stop = self._number(high) if dash else start
        if self.last == 7 and stop == 0 and start:
            stop = 7  # sat-sun
        if stop < start:
            raise ValueError(f"{self.name}: the range '{span}' ends before it begins")
        return range(start, stop + 1, step or 1)

    def _number(self, text: str) -> int:
        if text.lower() in self.names:
            return self.names.index(text.lower()) + self.first
        if not (text.isascii() and text.isdecimal() and self.first <= int(text) <= self.last):
            named = f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
            raise ValueError(f"{self.name}: '{text}' is not a number from {self.first} to {self.last}{named}")
        return int(text)


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression; `text` is as it was written."""

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    every_hour: bool

    @staticmethod
    def parse(text: str) -> Cron:
        """Parse five fields. Raises ValueError that says which field is wrong and how, or that it never fires."""
        parts = text.split()
        if len(parts) != len(_FIELDS):
            raise ValueError(
                f"'{text}' has {len(parts)} fields; a cron expression has 5: minute hour day month weekday"
            )
        minutes, hours, days, months, weekdays = (field.parse(part) for field, part in zip(_FIELDS, parts, strict=True))
        either_day = not parts[2].startswith("*") and not parts[4].startswith("*")
        if not either_day and not any(_exists(month, day) for month in months for day in days):
            raise ValueError(f"'{text}' never fires: no such day in that month")
        return Cron(
            text,
            tuple(sorted(minutes)),
            tuple(sorted(hours)),
            days,
            months,
            frozenset(number % 7 for number in weekdays),
            either_day=either_day,
            every_hour=parts[1].startswith("*"),
        )

    def after(self, moment: float, zone: tzinfo) -> float | None:
        """Return the first moment (epoch seconds) after `moment` at which it fires; None when there is none for years."""
        day = datetime.fromtimestamp(moment, zone).date() - timedelta(days=1)
        for _ in range(_HORIZON_DAYS):
            found = _first_after(self, day, zone, moment)
            day += timedelta(days=1)
            if found is not None:
                # A jump over midnight may push a time of one day beyond the first time of the next.
                other = _first_after(self, day, zone, moment)
                return found if other is None else min(found, other)
        return None

    def fires_on(self, day: date) -> bool:
        """Say whether the three day fields hold for this day."""
        if day.month not in self.months:
            return False
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (in_month or in_week) if self.either_day else (in_month and in_week)


def _exists(month: int, day: int) -> bool:
    return day <= (29 if month == 2 else 30 if month in {4, 6, 9, 11} else 31)


def _first_after(cron: Cron, day: date, zone: tzinfo, moment: float) -> float | None:
    instants = _instants(cron, day, zone) if cron.fires_on(day) else ()
    index = bisect_right(instants, moment)
    return instants[index] if index < len(instants) else None


@lru_cache(maxsize=64)
def _instants(cron: Cron, day: date, zone: tzinfo) -> tuple[float, ...]:
    folds = (0, 1) if cron.every_hour else (0,)
    return tuple(
        sorted(
            {
                datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone, fold=fold).timestamp()
                for hour in cron.hours
                for minute in cron.minutes
                for fold in folds
                if not fold or _is_twice(day, hour, minute, zone)
            }
        )
    )


def _is_twice(day: date, hour: int, minute: int, zone: tzinfo) -> bool:
    """Say whether the clock shows this time twice that day (for a time that does not exist, fold 1 is the earlier one)."""
    time = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
    return time.replace(fold=1).timestamp() > time.timestamp()
