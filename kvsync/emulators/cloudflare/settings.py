"""The switches of the emulator, read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kvsync.emulators.quantities import seconds
from kvsync.errors import UsageError

_ON_OFF: Final = ("on", "off")
SWITCHES: Final[Mapping[str, tuple[str, ...]]] = {
    "rate": (),
    "retry-after": (),
    "key-rate": _ON_OFF,
    "plan": ("paid", "free"),
    "empty-pages": _ON_OFF,
    "unsuccessful": ("mixed", "written", "unwritten"),
    "bulk-timeout": (),
    "bulk-bytes": (),
    "url-encoding": _ON_OFF,
}
_PERIOD: Final = 300.0  # seconds
_GENEROUS: Final = 1_200_000  # requests a period; the service itself gives 1,200


@dataclass(frozen=True, slots=True)
class Settings:
    """What docs/emulators.md says of each switch. Periods are in seconds, sizes in bytes; None is no limit."""

    requests: int | None = _GENEROUS
    period: float = _PERIOD
    retry_after: float = 1.0
    key_pace: bool = False
    free: bool = False
    gaps: bool = False
    unsuccessful: str = "mixed"
    bulk_timeout: int | None = None
    bulk_bytes: int | None = None
    url_encoding: bool = True

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Settings:
        """From the switches as they were given. Raises UsageError."""
        requests, period = _rate(given.get("rate", str(_GENEROUS)))
        return cls(
            requests,
            period,
            _seconds("retry-after", given.get("retry-after", "1s")),
            given.get("key-rate") == "on",
            given.get("plan") == "free",
            given.get("empty-pages") == "on",
            given.get("unsuccessful", "mixed"),
            _count("bulk-timeout", given.get("bulk-timeout")),
            _count("bulk-bytes", given.get("bulk-bytes")),
            given.get("url-encoding") != "off",
        )


def _rate(text: str) -> tuple[int | None, float]:
    """`1200`, `100/10s` or `off`."""
    if text == "off":
        return None, _PERIOD
    count, _, period = text.partition("/")
    return _count("rate", count), _seconds("rate", period) if period else _PERIOD


def _count(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(f"switch {name} needs a number, not {text!r}")
    return int(text)


def _seconds(name: str, text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise UsageError(f"switch {name}: {error}") from None
