"""Since when an entry of ours is no longer desired, so that a delete can wait out the guard's grace."""

from __future__ import annotations

from collections.abc import Iterable

from kvsync.core.model import Identity, Target
from kvsync.state.by_target import RowsByTarget
from kvsync.state.context import Context
from kvsync.state.rows import entry_row, identity_of

_DROP = "DELETE FROM removals WHERE store = ? AND namespace = ? AND key = ? AND label = ?"


class Removals:
    """Moments (epoch seconds) at which entries were first seen to be no longer desired."""

    def __init__(self, context: Context) -> None:
        self._database = context.database
        self.rows = RowsByTarget(context.database, "removals", "key, label, since")

    def since(self, target: Target) -> dict[Identity, float]:
        """The moments of a target's entries. Raises StateDirError."""
        return {identity_of(key, label): since for key, label, since in self.rows.of(target)}

    def update(self, target: Target, current: Iterable[Identity], now: float) -> dict[Identity, float]:
        """Make `current` all that is no longer desired: new ones since `now`, others as known, the rest forgotten. Returns the
        moments. Raises StateDirError."""
        known, wanted = self.since(target), set(current)
        new, over = wanted - known.keys(), known.keys() - wanted
        if new or over:
            self.rows.changed(target)
            with self._database.transaction() as connection:
                connection.executemany(_DROP, [entry_row(target, identity) for identity in over])
                rows = [(*entry_row(target, identity), now) for identity in new]
                connection.executemany("INSERT INTO removals VALUES (?, ?, ?, ?, ?)", rows)
        return {identity: known.get(identity, now) for identity in wanted}
