"""Settings of the emulator: `--switch NAME=VALUE`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kvsync.emulators.switches import count, duration, pace

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
    """What docs/emulators.md says of each switch. Periods are in seconds, sizes in bytes; None means no limit."""

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
        requests, period = pace("rate", given.get("rate", str(_GENEROUS)), _PERIOD)
        return cls(
            requests,
            period,
            duration("retry-after", given.get("retry-after", "1s")),
            given.get("key-rate") == "on",
            given.get("plan") == "free",
            given.get("empty-pages") == "on",
            given.get("unsuccessful", "mixed"),
            _optional("bulk-timeout", given),
            _optional("bulk-bytes", given),
            given.get("url-encoding") != "off",
        )


def _optional(name: str, given: Mapping[str, str]) -> int | None:
    return count(name, given[name]) if name in given else None
