"""Cron expressions as Debian's crontab(5) defines them: the next time they fire, in any time zone.

Five fields: minute, hour, day of the month, month, day of the week. Sunday is 0 and 7. Months and weekdays may be named.
When both day fields are restricted, either is enough.

Clock changes, as in Debian's cron: a time that the clock skips fires right after the skip. A time that the clock shows twice
fires once. An expression whose minute or hour begins with `*` follows the clock: its skipped times do not fire, and its
repeated times fire twice.

The library `cronsim` computes the times. This module checks the text first, to name the field that is wrong, and to refuse
what `cronsim` adds to crontab(5): seconds, `L` and `#`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from cronsim import CronSim, CronSimError

from kvsync.util.values import dataclass

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_ANY_MOMENT = datetime(2000, 1, 1)  # noqa: DTZ001 - the syntax does not depend on the time
_LARGEST_CHANGE = 7200.0
"""Seconds by which a clock goes back at most: at Troll, in Antarctica. Everywhere else it is an hour or less."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()

    def parse(self, text: str) -> str:
        """Return the field in numbers, each range in ascending order. Raises ValueError."""
        return ",".join(self._range(part) for part in text.split(","))

    def _range(self, part: str) -> str:
        span, slash, step = part.partition("/")
        low, dash, high = span.partition("-")
        if slash and not (step.isascii() and step.isdecimal() and int(step) and (dash or span == "*")):
            raise ValueError(f"{self.name}: '{part}' is not a step; write '*/N' or 'A-B/N'")
        if span == "*":
            return part
        start = self._number(low)
        stop = self._number(high) if dash else start
        if self.last == 7 and stop == 0 and start:
            stop = 7  # sat-sun
        if stop < start:
            raise ValueError(f"{self.name}: the range '{span}' ends before it begins")
        # cronsim reads `5-5/2` as `5-59/2`, so a range of one number is written as that number.
        return str(start) if start == stop else f"{start}-{stop}{slash}{step}"

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
    """A parsed expression. `text` is as it was written, `numbers` the same without names."""

    text: str
    numbers: str

    @staticmethod
    def parse(text: str) -> Cron:
        """Parse five fields. Raises ValueError that says which field is wrong and how, or that it never fires."""
        parts = text.split()
        if len(parts) != len(_FIELDS):
            raise ValueError(
                f"'{text}' has {len(parts)} fields; a cron expression has 5: minute hour day month weekday"
            )
        numbers = " ".join(field.parse(part) for field, part in zip(_FIELDS, parts, strict=True))
        try:
            CronSim(numbers, _ANY_MOMENT)
        except CronSimError:
            raise ValueError(f"'{text}' never fires: no such day in that month") from None
        return Cron(text, numbers)

    def after(self, moment: float, zone: tzinfo) -> float | None:
        """Return the first moment (epoch seconds) after `moment` at which it fires; None if there is none in 50 years."""
        if zone is UTC or not self._follows_the_clock:
            # While the clock shows an hour again, cronsim begins with times of the first pass.
            times = CronSim(self.numbers, datetime.fromtimestamp(moment, zone))
            return next((time.timestamp() for time in times if time.timestamp() > moment), None)
        shown = (self._shown_after(moment, zone, fold) for fold in (0, 1))
        return min((fires for fires in shown if fires is not None), default=None)

    @property
    def _follows_the_clock(self) -> bool:
        minute, hour, *_ = self.numbers.split()
        return minute.startswith("*") or hour.startswith("*")

    def _shown_after(self, moment: float, zone: tzinfo, fold: int) -> float | None:
        """Return the first moment after `moment` at which the clock shows a matching time for the `fold`-th time.

        cronsim computes times without a zone. In a zone whose clock changes at midnight or by half an hour (Havana, Lord Howe),
        it misses times on the day of a change.
        """
        soon = datetime.fromtimestamp(moment + _LARGEST_CHANGE, zone).replace(tzinfo=None)
        # When the clock is about to go back, it will show earlier times than now.
        start = min(
            datetime.fromtimestamp(moment, zone).replace(tzinfo=None), soon - timedelta(seconds=_LARGEST_CHANGE)
        )
        for shown in CronSim(self.numbers, start):
            fires = shown.replace(tzinfo=zone, fold=fold).timestamp()
            if fires > moment and datetime.fromtimestamp(fires, zone).replace(tzinfo=None) == shown:
                return fires
        return None
