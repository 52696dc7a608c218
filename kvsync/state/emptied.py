"""Time since when a namespace is empty because kvsync deleted everything in it, for stores that can delete namespaces."""

from __future__ import annotations

from kvsync.state.context import Context
from kvsync.state.tables import EMPTIED

_SINCE = "SELECT since FROM emptied WHERE place = ?"
_FORGET = "DELETE FROM emptied WHERE place = ?"
_PUT = EMPTIED.upsert()


class EmptiedPlaces:
    """Moments (epoch seconds) at which kvsync deleted the last entries of a place, all of them its own."""

    def __init__(self, context: Context) -> None:
        self._database, self._timeline = context.database, context.timeline

    def since(self, place: str) -> float | None:
        """When kvsync emptied a place, not in the future; None if it did not. Raises StateDirError."""
        row = self._database.one(_SINCE, (place,))
        return None if row is None else self._timeline.to_wall_clock(min(row[0], self._timeline.now()))

    def record(self, place: str, now: float) -> None:
        """Note that kvsync has just emptied a place. Raises StateDirError."""
        with self._database.transaction() as connection:
            connection.execute(_PUT, (place, self._timeline.steady(now)))

    def remove(self, place: str) -> None:
        """Drop the note, because something is there again, or because the place is gone. Raises StateDirError."""
        if self.since(place) is not None:
            with self._database.transaction() as connection:
                connection.execute(_FORGET, (place,))
