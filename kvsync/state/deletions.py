"""Count of deletes in the last hour over all targets and runs, for `run.max_deletes_per_hour`.

A grant is taken before the first delete is sent and committed to disk, so that a killed run has used all of its grant. Once the
deletes are done it is corrected to what they were, and counts from then on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from kvsync.planning.deletion_limit import WINDOW, DeletionBudget
from kvsync.state.context import Context
from kvsync.state.tables import DELETIONS
from kvsync.util.values import dataclass

_RECENT = "SELECT at, count FROM deletions WHERE at > ? ORDER BY at"
_FORGET = "DELETE FROM deletions WHERE at <= ?"
_NO_FUTURE = "UPDATE deletions SET at = ? WHERE at > ?"
"""A clock that was set back must not hold deletes for longer than an hour."""


@dataclass(frozen=True, slots=True)
class DeletionGrant:
    """Permission to delete `granted` entries, perhaps fewer than were requested: `budget` is what is left of the limit.
    `row` is the grant's number in the table, None if nothing was granted."""

    row: int | None
    granted: int
    budget: DeletionBudget


class Deletions:
    """Grants deletes within the limit of the last hour."""

    def __init__(self, context: Context) -> None:
        self._database, self._timeline = context.database, context.timeline

    def budget(self, limit: int) -> DeletionBudget:
        """What may be deleted now. Raises StateDirError."""
        now = self._timeline.now()
        return self._shown(_budget(limit, now, self._database.query(_RECENT, (now - WINDOW,))))

    def take(self, wanted: int, limit: int) -> DeletionGrant:
        """Count up to `wanted` deletes against the limit, durably. Raises StateDirError: then nothing may be deleted."""
        now = self._timeline.now()
        with self._database.transaction(durable=True) as connection:
            self._database.alone(connection, DELETIONS)  # replicas share the limit
            connection.execute(_FORGET, (now - WINDOW,))
            connection.execute(_NO_FUTURE, (now, now))
            rows = connection.execute(_RECENT, (now - WINDOW,)).fetchall()
            before = _budget(limit, now, rows)
            granted = min(wanted, before.left)
            if not granted:
                return DeletionGrant(None, 0, self._shown(before))
            row = self._database.inserted(connection, DELETIONS, ("at", "count"), (now, granted))
        return DeletionGrant(row, granted, self._shown(_budget(limit, now, [*rows, (now, granted)])))

    def settle(self, grant: DeletionGrant, used: int) -> None:
        """Correct a grant to the deletes that may have reached the store; they count from now on. Raises StateDirError."""
        if grant.row is None:
            return
        with self._database.transaction() as connection:
            row = (self._timeline.now(), used, grant.row)
            connection.execute("UPDATE deletions SET at = ?, count = ? WHERE id = ?", row)

    def _shown(self, budget: DeletionBudget) -> DeletionBudget:
        """The budget with its moment by the wall clock."""
        return (
            budget if budget.free_at is None else replace(budget, free_at=self._timeline.to_wall_clock(budget.free_at))
        )


@dataclass(frozen=True, slots=True)
class LimitedDeletions:
    """`Deletions` with the limit of the configuration, as the applier uses it."""

    deletions: Deletions
    limit: int

    def budget(self) -> DeletionBudget:
        """What may be deleted now. Raises StateDirError."""
        return self.deletions.budget(self.limit)

    def take(self, wanted: int) -> DeletionGrant:
        """Count up to `wanted` deletes. Raises StateDirError."""
        return self.deletions.take(wanted, self.limit)

    def settle(self, grant: DeletionGrant, used: int) -> None:
        """Correct a grant to what was used. Raises StateDirError."""
        self.deletions.settle(grant, used)


def _budget(limit: int, now: float, rows: Iterable[tuple[float, int]]) -> DeletionBudget:
    """The budget that these rows, oldest first, leave."""
    rows = list(rows)
    used = sum(number for _, number in rows)
    if used < limit:
        return DeletionBudget(limit, used)
    left_over, free_at = used, None
    for at, number in rows:
        left_over -= number
        if left_over < limit:
            free_at = min(at, now) + WINDOW
            break
    return DeletionBudget(limit, used, free_at)
