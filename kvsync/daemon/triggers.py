"""Triggers of passes: their meaning, and how several that arrive together become one."""

from __future__ import annotations

from kvsync.model.result import Trigger
from kvsync.util.values import dataclass

EVERYONE = frozenset({Trigger.SCHEDULE, Trigger.SIGNAL, Trigger.HOOK, Trigger.CONFIG, Trigger.LEASE})
"""Triggers that mean a pass of every target."""

FETCHING = frozenset({Trigger.SIGNAL, Trigger.HOOK, Trigger.CONFIG})
"""Triggers that mean that there may be something new to fetch."""

LOOKING = EVERYONE | {Trigger.FILES}
"""Triggers on which the files are read again."""


@dataclass(frozen=True, slots=True)
class PendingTriggers:
    """Triggers since the start of the last pass, combined into one."""

    triggers: frozenset[Trigger] = frozenset()
    deep: bool = False

    def add(self, trigger: Trigger, *, deep: bool = False) -> PendingTriggers:
        """Fold in one more."""
        return PendingTriggers(self.triggers | {trigger}, self.deep or deep)


NOTHING = PendingTriggers()
