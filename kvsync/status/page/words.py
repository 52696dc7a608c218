"""Formatting of numbers and times for the page. Times are epoch seconds, shown in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kvsync.rendering.words import moment, outcome_words
from kvsync.status.plan_views import PendingPlan, PendingRowKind

_STEPS: Final = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))
_UNITS: Final = ("bytes", "KB", "MB", "GB", "TB")
_KEPT_BACK: Final = {PendingRowKind.REFUSED.value: "refused", PendingRowKind.REPORTED.value: "reported only"}


def span(seconds: float) -> str:
    """A length of time in its largest unit: `3 min`, `2 d`. The page's script words it the same way."""
    size, unit = next((step for step in _STEPS if seconds >= step[0]), (1.0, "s"))
    return f"{int(seconds / size):,} {unit}"


def relative(at: float, now: float) -> str:
    """A moment as seen from another: `3 min ago`, `in 2 h`, `now`."""
    if abs(at - now) < 1:
        return "now"
    return f"in {span(at - now)}" if at > now else f"{span(now - at)} ago"


def absolute(at: float) -> str:
    """A moment in full: `2026-11-22 01:07:11 UTC`."""
    return moment(at).replace("T", " ").replace("Z", " UTC")


def took(seconds: float) -> str:
    """How long something took: `12 ms`, `1.4 s`, `3 min`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else span(seconds)


def size(number: int) -> str:
    """A number of bytes: `812 bytes`, `1.4 MB`."""
    rest, unit = float(number), 0
    while rest >= 1000 and unit < len(_UNITS) - 1:
        rest, unit = rest / 1000, unit + 1
    return f"{number} bytes" if not unit else f"{rest:.1f} {_UNITS[unit]}"


def plural(number: int, noun: str) -> str:
    """`1 target`, `1,000 targets`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def tally(counts: Mapping[str, int]) -> str:
    """Counts by word: `3 applied, 1 failed`."""
    return outcome_words(counts)


def to_do(counts: Mapping[str, int]) -> str:
    """The counts of a pending plan: `2 to update, 1 refused`."""
    return ", ".join(f"{number:,} {_KEPT_BACK.get(word, f'to {word}')}" for word, number in counts.items() if number)


def is_applicable(plan: PendingPlan) -> bool:
    """True when a pending plan holds something that could be applied, and so costs something."""
    return bool(plan.counts.keys() - _KEPT_BACK.keys())
