"""Parsers for numeric and time switches, shared by all emulators."""

from __future__ import annotations

from kvsync.emulators.quantities import seconds
from kvsync.errors import UsageError


def count(switch: str, text: str) -> int:
    """A whole number, 0 or more. Raises UsageError."""
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(f"switch {switch} needs a number, not {text!r}")
    return int(text)


def duration(switch: str, text: str) -> float:
    """Seconds in a text such as `50ms`. Raises UsageError."""
    try:
        return seconds(text)
    except ValueError as error:
        raise UsageError(f"switch {switch}: {error}") from None


def pace(switch: str, text: str, period: float) -> tuple[int | None, float]:
    """`100`, `100/10s` or `off`: so many (None: any number) in so many seconds; `period` is what is meant without one.

    Raises UsageError.
    """
    if text == "off":
        return None, period
    number, _, time = text.partition("/")
    return count(switch, number), duration(switch, time) if time else period
