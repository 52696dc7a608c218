"""Parsers for durations and moments."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(value: object) -> float:
    """Seconds in a number, or in a text such as `50ms`, `-2s`, `1h30m`. Raises ValueError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    match = re.fullmatch(r"([-+]?)((?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+)", str(value))
    if match is None:
        raise ValueError(f"{value!r} is not a duration such as 50ms, 2s or 1h30m")
    total = sum(float(count) * _UNITS[unit] for count, unit in re.findall(r"([\d.]+)(ms|s|m|h|d)", match[2]))
    return -total if match[1] == "-" else total


def moment(value: object) -> float:
    """Seconds since the Unix epoch in a number or an ISO 8601 text; without an offset it is UTC. Raises ValueError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    try:
        read = datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is not a time such as 2026-12-24T00:00:00Z") from None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def iso(at: float) -> str:
    """A moment as ISO 8601 in UTC, whole seconds: `2026-12-24T00:00:00+00:00`."""
    return datetime.fromtimestamp(int(at), UTC).isoformat()


def precise_iso(at: float) -> str:
    """A moment as ISO 8601 in UTC with seven decimals: `2026-12-24T00:00:00.0000000+00:00`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0+00:00")


def http_date(at: float) -> str:
    """A moment as HTTP headers have it: `Thu, 24 Dec 2026 00:00:00 GMT`."""
    return format_datetime(datetime.fromtimestamp(int(at), UTC), usegmt=True)
