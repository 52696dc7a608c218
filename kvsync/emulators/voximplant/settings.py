"""Switches of the emulator. Most of them answer a question that the API reference leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kvsync.emulators.switches import count, duration, pace
from kvsync.emulators.voximplant.errors import MESSAGES
from kvsync.errors import UsageError

_ON_OFF: Final = ("on", "off")
SWITCHES: Final[Mapping[str, tuple[str, ...]]] = {
    "rate": (),
    "resend": (),
    "refusal": (),
    "resend-code": ("484", "515"),
    "error-status": ("200", "matching"),
    "role": ("owner", "admin", "developer", "supervisor"),
    "forbidden": ("104", "100"),
    "body-parameters": _ON_OFF,
    "application-name": ("alternative", "ignored"),
    "unknown-application": ("116", "546", "558"),
    "match": ("prefix", "namespace", "strict"),
    "order": ("insertion", "written", "key", "random"),
    "count-limit": ("cap", "error"),
    "ttl-limit": ("cap", "error"),
    "ttl-zero": ("default", "error", "ended"),
    "both-ends": ("error", "ttl", "expires_at"),
    "empty-value": _ON_OFF,
    "missing": ("error", "null", "absent"),
    "delete-missing": ("error", "0", "1"),
    "set-answer": ("old", "new"),
    "renew-equal": _ON_OFF,
}
"""Names and values; of those that have a choice, the first is what is meant without the switch."""

_PERIOD: Final = 1.0  # seconds that `rate` is about when it names none


@dataclass(frozen=True, slots=True)
class Settings:
    """What docs/emulators.md says of each switch. Times are in seconds; a rate of None means no limit."""

    requests: int | None
    period: float
    resend: float
    refusal: int
    choices: Mapping[str, str]

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Settings:
        """From the switches as they were given. Raises UsageError."""
        requests, period = pace("rate", given.get("rate", "off"), _PERIOD)
        choices = {name: given.get(name, values[0]) for name, values in SWITCHES.items() if values}
        return cls(requests, period, duration("resend", given.get("resend", "0s")), _code(given), choices)


def _code(given: Mapping[str, str]) -> int:
    code = count("refusal", given.get("refusal", "340"))
    if code not in MESSAGES:
        raise UsageError(f"switch refusal needs a code of the API, not {code}")
    return code
