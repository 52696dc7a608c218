"""Settings of the emulator: `--switch NAME=VALUE`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kvsync.emulators.apify.model import LARGEST_RECORD, RESTRICTED, WITH_ID
from kvsync.errors import UsageError

SWITCHES: Final[Mapping[str, tuple[str, ...]]] = {
    "error-names": ("seed", "docs"),
    "rate": (),
    "largest-record": (),
    "redirects": ("off", "on", "strict"),
    "zip": ("deflated", "stored", "off"),
    "zip-encoded": ("decoded", "kept"),
    "html": ("plain", "guarded"),
    "account-access": ("anyone-with-id", "restricted"),
    "credit": ("left", "spent"),
}
_GENEROUS: Final = "20000/6000"  # requests a second; the service itself gives 200/60


@dataclass(frozen=True, slots=True)
class Settings:
    """What docs/emulators.md says of each switch. Rates are in requests a second, sizes in bytes; None means no limit."""

    newer_names: bool
    record_rate: int | None
    other_rate: int | None
    largest_record: int
    redirects: bool
    strict_redirects: bool
    zip: bool
    zip_deflated: bool
    zip_decoded: bool
    guards_html: bool
    account_access: str
    spent: bool

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Settings:
        """From the switches as they were given. Raises UsageError."""
        record_rate, other_rate = _rates(given.get("rate", _GENEROUS))
        return cls(
            newer_names=given.get("error-names") == "docs",
            record_rate=record_rate,
            other_rate=other_rate,
            largest_record=_bytes(given.get("largest-record", str(LARGEST_RECORD))),
            redirects=given.get("redirects", "off") != "off",
            strict_redirects=given.get("redirects") == "strict",
            zip=given.get("zip") != "off",
            zip_deflated=given.get("zip") != "stored",
            zip_decoded=given.get("zip-encoded") != "kept",
            guards_html=given.get("html") == "guarded",
            account_access=RESTRICTED if given.get("account-access") == "restricted" else WITH_ID,
            spent=given.get("credit") == "spent",
        )


def _rates(text: str) -> tuple[int | None, int | None]:
    """`200/60` or `off`."""
    if text == "off":
        return None, None
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None:
        raise UsageError(f"switch rate needs two numbers such as 200/60, or off, not {text!r}")
    return int(match[1]), int(match[2])


def _bytes(text: str) -> int:
    if not re.fullmatch("[0-9]{1,12}", text):
        raise UsageError(f"switch largest-record needs a number of bytes, not {text!r}")
    return int(text)
