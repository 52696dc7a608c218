"""What a forked replica of a fleet does first: its lease is short, and its clock may be wrong."""

from __future__ import annotations

import os
import time
from typing import Final

from kvsync.app import fleet
from kvsync.leader.fleet import FleetTiming
from kvsync.util.clock import Clock

AHEAD: Final = "KVSYNC_TEST_AHEAD"
"""The variable with the seconds by which the clock of the replica is ahead."""


def prepare() -> None:
    """Set them. The environment of the command is not there yet."""
    fleet.TIMING = FleetTiming(lease=6.0, renew_every=0.5, margin=1.5)  # type: ignore[misc]
    Clock.now = _now  # type: ignore[method-assign, assignment]


def _now(_clock: Clock) -> float:
    return time.time() + float(os.environ.get(AHEAD, "0"))
