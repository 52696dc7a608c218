"""Permit: decides whether a target may be applied now. The only place that does, for commands and the daemon.

The fence of a store is checked again right before each request; `run.max_deletes_per_hour` limits how much of a permitted plan
is applied, see `deletion_limit`.
"""

from __future__ import annotations

from enum import StrEnum

from kvsync.util.values import dataclass


class Hold(StrEnum):
    """Why a target may not be applied now."""

    OBSERVE = "observe"
    PAUSED = "paused"
    PARKED = "parked"
    WINDOW = "window"
    STANDBY = "standby"
    WAVE = "wave"


@dataclass(frozen=True, slots=True)
class PermitInputs:
    """Inputs of the decision whether a target may be applied.

    `observes`: the process only plans. `is_paused`: the target or its store is paused. `is_parked`: the plan waits for an
    approval. `is_denied`: a maintenance window denies applying. `leads`: no other replica leads.
    `is_early`: an earlier wave is not over.
    """

    observes: bool = False
    is_paused: bool = False
    is_parked: bool = False
    is_denied: bool = False
    leads: bool = True
    is_early: bool = False


def hold_of(now: PermitInputs) -> Hold | None:
    """Return why a target may not be applied now, None if it may. Of several reasons, it is the one that an operator must act
    on."""
    holds = (
        (Hold.OBSERVE, now.observes),
        (Hold.PAUSED, now.is_paused),
        (Hold.PARKED, now.is_parked),
        (Hold.WINDOW, now.is_denied),
        (Hold.STANDBY, not now.leads),
        (Hold.WAVE, now.is_early),
    )
    return next((hold for hold, holds_back in holds if holds_back), None)
