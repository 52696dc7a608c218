"""Policy: what kvsync may do in a target.

All frozen. Times are seconds.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum

from kvsync.util.values import dataclass


class Prune(StrEnum):
    """What may be deleted: our entries that are no longer desired, nothing, or all that is in scope."""

    OWNED = "owned"
    OFF = "off"
    SCOPE = "scope"


class Adopt(StrEnum):
    """What to do if a desired entry already exists without an owner."""

    NEVER = "never"
    IF_EQUAL = "if-equal"
    ALWAYS = "always"


class DriftAction(StrEnum):
    """What to do with drift: write git's state again, only say so, or hold the target until a person approves."""

    HEAL = "heal"
    REPORT = "report"
    GATE = "gate"


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """What to do, per class of drift."""

    drifted: DriftAction = DriftAction.HEAL
    missing: DriftAction = DriftAction.HEAL
    conflict: DriftAction = DriftAction.HEAL


@dataclass(frozen=True, slots=True)
class Guard:
    """Limits beyond which a target is parked. Percentages are of the entries we own there; `grace` is in seconds."""

    max_delete_pct: float = 30
    max_update_pct: float = 50
    min_existing: int = 10
    max_deletes: int = 1000
    grace: float = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """What kvsync may do in a target."""

    prune: Prune = Prune.OWNED
    adopt: Adopt = Adopt.IF_EQUAL
    drift: DriftPolicy = field(default_factory=DriftPolicy)
    guard: Guard = field(default_factory=Guard)
    ignore: tuple[str, ...] = ()
