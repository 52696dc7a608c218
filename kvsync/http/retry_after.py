"""Parser of the `Retry-After` headers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

_MILLISECONDS: Final = ("retry-after-ms", "x-ms-retry-after-ms")


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds from `now` (since the epoch) according to `retry-after-ms`, `x-ms-retry-after-ms` or `Retry-After` (seconds or a
    date); None if none of them is usable."""
    for name in _MILLISECONDS:
        if (milliseconds := _number(headers.get(name))) is not None:
            return milliseconds / 1000
    text = headers.get("retry-after")
    if text is None:
        return None
    seconds = _number(text)
    return seconds if seconds is not None else _until(text, now)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _until(text: str, now: float) -> float | None:
    from email.utils import parsedate_to_datetime  # imports much, and is seldom needed

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None
