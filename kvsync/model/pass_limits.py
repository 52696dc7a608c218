"""Limits for the time that a pass takes."""

from __future__ import annotations

from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class PassLimits:
    """Times in seconds. `kvsync.config.limits` says what each bounds."""

    pass_time: float = 3600
    retry_time: float = 120
    rest: float = 900
