"""Limit on deletes over all targets: how many are allowed now, and the message for those that wait. Pure.

Every delete counts, whatever its reason: a key that left the files, `absent`, the old name of a move, the end of a lifetime
that the store does not enforce itself, and `undo`. Otherwise a state file could choose a reason that does not count. A
namespace counts as one delete.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from kvsync.model.change import Action
from kvsync.model.plan import TargetPlan
from kvsync.rendering.words import count, moment
from kvsync.util.values import dataclass

WINDOW = 3600.0
"""Seconds over which deletes are counted."""


@dataclass(frozen=True, slots=True)
class DeletionBudget:
    """The deletion budget: `limit` entries per hour, of which `used` were deleted in the last hour; `free_at` (epoch seconds)
    is when more may be deleted, None if that is not known."""

    limit: int
    used: int = 0
    free_at: float | None = None

    @property
    def left(self) -> int:
        """How many entries may be deleted now."""
        return max(0, self.limit - self.used)

    def why(self) -> str:
        """The reason why a delete waits, for messages."""
        until = "" if self.free_at is None else f"; the next one is allowed at {moment(self.free_at)}"
        return f"run.max_deletes_per_hour is {self.limit:,}{until}"


def with_waiting(plans: Iterable[TargetPlan], budget: DeletionBudget) -> tuple[TargetPlan, ...]:
    """The plans, each with the number of deletes that wait if they are applied in this order. Parked targets delete nothing."""
    left, marked = budget.left, []
    for plan in plans:
        is_held = bool(plan.parked) and not plan.approved
        deletes = 0 if is_held else _deletes(plan)
        late = max(0, deletes - left)
        left -= deletes - late
        marked.append(replace(plan, waiting=(_sentence(late, deletes, budget),)) if late else plan)
    return tuple(marked)


def _deletes(plan: TargetPlan) -> int:
    return plan.deletes_namespace + sum(change.action is Action.DELETE for change in plan.changes)


def _sentence(late: int, deletes: int, budget: DeletionBudget) -> str:
    share = f"{late:,} of {count(deletes, 'delete')}" if late < deletes else count(late, "delete")
    return f"{share} {'waits' if late == 1 else 'wait'}: {budget.why()}"
