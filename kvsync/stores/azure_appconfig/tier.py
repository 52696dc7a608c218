"""Service tiers and their rate limits."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class Tier(StrEnum):
    """What is paid for."""

    FREE = "free"
    DEVELOPER = "developer"
    STANDARD = "standard"
    PREMIUM = "premium"


class Rates(NamedTuple):
    """Calls a second; None where the service promises nothing, and kvsync goes by its answers alone."""

    reads: float | None = None
    writes: float | None = None


RATES: Final[Mapping[Tier | None, Rates]] = {
    None: Rates(),
    Tier.FREE: Rates(),
    Tier.DEVELOPER: Rates(),
    Tier.STANDARD: Rates(300, 60),
    Tier.PREMIUM: Rates(450, 100),
}
