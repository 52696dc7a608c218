"""Measures the difference between this machine's clock and a server's."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

from kvsync.http.model import Response
from kvsync.model.health import DoctorCheck
from kvsync.util.clock import Clock, StoreClock

_SET_CLOCK: Final = "synchronize this machine's clock with NTP"


def set_store_clock(clock: Clock, answer: Response, sent_at: float) -> None:
    """Set the clock of a store from a response that just arrived to a request sent at `sent_at` (monotonic). Responses from a
    cache are ignored."""
    if not isinstance(clock, StoreClock):
        return
    try:
        moment = _moment(answer.headers.get("date", ""))
        age = float(answer.headers.get("age", "0"))
    except (ValueError, TypeError, OverflowError):
        return
    if age == 0:
        clock.set_from_server(moment, sent_at, clock.monotonic())


def ahead_of_server(answer: Response, now: float) -> float | None:
    """Seconds by which `now` is ahead of the header Date, to about a second; None without a usable header."""
    try:
        return now - _moment(answer.headers.get("date", ""))
    except (ValueError, TypeError, OverflowError):
        return None


@lru_cache(maxsize=16)
def _moment(date: str) -> float:
    """A header Date in epoch seconds. Hundreds of responses have the same. Raises ValueError, TypeError, OverflowError."""
    return parsedate_to_datetime(date).timestamp()


def skew_in_words(seconds: float | None) -> str:
    """A message, such as `this machine's clock is 20 minutes ahead of the server's`."""
    if seconds is None:
        return "the server does not report its time"
    size = abs(seconds)
    if size < 5:
        return "this machine's clock agrees with the server's"
    amount = f"{size:.0f} seconds" if size < 120 else f"{size / 60:.0f} minutes"
    return f"this machine's clock is {amount} {'ahead of' if seconds > 0 else 'behind'} the server's"


def clock_findings(answer: Response, now: float, most: float, hint: str = _SET_CLOCK) -> list[DoctorCheck]:
    """What `doctor` reports about this machine's clock; nothing if the server does not report its time. A difference of more
    than `most` seconds fails, with `hint`."""
    ahead = ahead_of_server(answer, now)
    if ahead is None:
        return []
    is_right = abs(ahead) <= most
    return [DoctorCheck("clock", is_right, skew_in_words(ahead), None if is_right else hint)]
