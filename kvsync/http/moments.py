"""Parses points in time from the responses of servers."""

from __future__ import annotations

from typing import Final

_LATEST: Final = 253_402_300_799.0
"""The end of the year 9999, after which Python has no dates."""


def moment_from(value: object) -> float | None:
    """Return a moment (seconds since the epoch) from a JSON number; None for anything that is not a moment up to the end of the
    year 9999: other types, NaN, infinity, and numbers that no float holds."""
    is_moment = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LATEST
    return float(value) if is_moment else None  # type: ignore[arg-type]  # it is a number
