"""What each target was last brought to and since when it has been in sync, for waves."""

from __future__ import annotations

from kvsync.model.entry import Target
from kvsync.planning.waves import WaveRecord
from kvsync.state.context import Context
from kvsync.state.rows import target_row
from kvsync.state.tables import WAVES


class WaveRecords:
    """One row for each target of a wave that others wait for. Moments are by the steady timeline."""

    def __init__(self, context: Context) -> None:
        self._context, self._database = context, context.database

    def now(self) -> float:
        """This moment as it is kept."""
        return self._context.timeline.now()

    def wall(self, moment: float) -> float:
        """A kept moment by the wall clock (epoch seconds)."""
        return self._context.timeline.wall(moment)

    def all(self) -> dict[Target, WaveRecord]:
        """Every target's record. Raises StateDirError."""
        return {
            Target(store, namespace): WaveRecord(digest, since, failure)
            for store, namespace, digest, since, failure in self._database.query(WAVES.select())
        }

    def find(self, target: Target) -> WaveRecord | None:
        """A target's record. Raises StateDirError."""
        row = self._database.one(f"{WAVES.select()} WHERE store = ? AND namespace = ?", target_row(target))
        return None if row is None else WaveRecord(*row[2:])

    def put(self, target: Target, record: WaveRecord, *, durable: bool = False) -> None:
        """Replace a target's record; `durable` also waits for the disk. Raises StateDirError."""
        row = (*target_row(target), record.digest, record.since, self._context.redacted(record.failure))
        with self._database.transaction(durable=durable) as connection:
            connection.execute(WAVES.upsert(), row)
