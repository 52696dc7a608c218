"""Measures the difference between this machine's clock and a server's."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final

from kvsync.http.model import Response
from kvsync.model.health import DoctorCheck
from kvsync.util.clock import Clock, StoreClock

_SET_CLOCK: Final = "synchronize this machine's clock with NTP"


def tell_clock(clock: Clock, answer: Response, sent_at: float) -> None:
    """Let the clock of a store know the time of an answer that just arrived to a request sent at `sent_at` (monotonic). What
    a cache on the way kept says nothing."""
    if not isinstance(clock, StoreClock):
        return
    try:
        moment = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
        age = float(answer.headers.get("age", "0"))
    except (ValueError, TypeError, OverflowError):
        return
    if age == 0:
        clock.heard(moment, sent_at, clock.monotonic())


def ahead_of_server(answer: Response, now: float) -> float | None:
    """Seconds by which `now` is ahead of the header Date, to about a second; None without a usable one."""
    try:
        return now - parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def skew_in_words(seconds: float | None) -> str:
    """For people: `this machine's clock is 20 minutes ahead of the server's`."""
    if seconds is None:
        return "the server does not report its time"
    size = abs(seconds)
    if size < 5:
        return "this machine's clock agrees with the server's"
    amount = f"{size:.0f} seconds" if size < 120 else f"{size / 60:.0f} minutes"
    return f"this machine's clock is {amount} {'ahead of' if seconds > 0 else 'behind'} the server's"


def clock_findings(answer: Response, now: float, most: float, hint: str = _SET_CLOCK) -> list[DoctorCheck]:
    """What `doctor` says of this machine's clock: nothing if the server does not report its time. More than `most` seconds off
    is wrong, and `hint` what to do then."""
    ahead = ahead_of_server(answer, now)
    if ahead is None:
        return []
    is_right = abs(ahead) <= most
    return [DoctorCheck("clock", is_right, skew_in_words(ahead), None if is_right else hint)]
