"""Time since when an owned entry has not been desired, for the guard's grace period."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kvsync.model.entry import Identity
from kvsync.state.by_place import RowsByPlace
from kvsync.state.context import Context
from kvsync.state.rows import entry_row, identity_of
from kvsync.state.tables import REMOVALS

_DROP, _ADD = REMOVALS.delete_rows(), REMOVALS.add_rows()


class Removals:
    """Moments (epoch seconds) at which entries were first seen to be no longer desired."""

    def __init__(self, context: Context) -> None:
        self._database, self._timeline = context.database, context.timeline
        self.rows = RowsByPlace(context.database, "removals", "key, label, since")

    def since(self, place: str) -> dict[Identity, float]:
        """The moments of a place's entries, none in the future. Raises StateDirError."""
        now, wall = self._timeline.now(), self._timeline.to_wall_clock
        return {identity_of(key, label): wall(min(since, now)) for key, label, since in self.rows.of(place)}

    def update(
        self, place: str, current: Iterable[Identity], now: float, known: Mapping[Identity, float] | None = None
    ) -> dict[Identity, float]:
        """Make `current` all that is no longer desired: new ones since `now`, others as known, the rest forgotten. `known` is
        what this pass has read of the place; a command that only plans may have added the same since. Returns the moments.
        Raises StateDirError."""
        wanted = set(current)
        if known is None:
            known = self.since(place)
        new, over = wanted - known.keys(), known.keys() - wanted
        if new or over:
            self.rows.changed(place)
            with self._database.transaction() as connection:
                self._database.write_rows(connection, _DROP, [entry_row(place, identity) for identity in over])
                since = self._timeline.steady(now)
                rows = [(*entry_row(place, identity), since) for identity in new]
                self._database.write_rows(connection, _ADD, rows)
        return {identity: known.get(identity, now) for identity in wanted}
