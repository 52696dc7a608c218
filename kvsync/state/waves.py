"""Records what was last applied to each target, and since when it has been in sync, for waves."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from kvsync.model.entry import Target
from kvsync.planning.waves import WaveRecord
from kvsync.state.context import Context
from kvsync.state.rows import target_row
from kvsync.state.tables import WAVES

_OF_ALL: Final = f"{WAVES.select()} WHERE environment = ?"
_OF_ONE: Final = f"{_OF_ALL} AND store = ? AND namespace = ?"
_FORGET: Final = WAVES.delete_rows()


class WaveRecords:
    """One row for each target of a wave that others wait for, in one environment (empty without one). Moments are by the
    steady timeline."""

    def __init__(self, context: Context, environment: str) -> None:
        self._context, self._database, self._environment = context, context.database, environment

    def now(self) -> float:
        """This moment as it is kept."""
        return self._context.timeline.now()

    def to_wall_clock(self, moment: float) -> float:
        """A kept moment by the wall clock (epoch seconds)."""
        return self._context.timeline.to_wall_clock(moment)

    def all(self) -> dict[Target, WaveRecord]:
        """Every target's record. Raises StateDirError."""
        return {
            Target(store, namespace): WaveRecord(digest, since, failure)
            for _, store, namespace, digest, since, failure in self._database.query(_OF_ALL, (self._environment,))
        }

    def find(self, target: Target) -> WaveRecord | None:
        """A target's record. Raises StateDirError."""
        row = self._database.one(_OF_ONE, self._key(target))
        return None if row is None else WaveRecord(*row[3:])

    def put(self, target: Target, record: WaveRecord, *, durable: bool = False) -> None:
        """Replace a target's record; `durable` also waits for the disk. Raises StateDirError."""
        row = (*self._key(target), record.digest, record.since, self._context.redacted(record.failure))
        with self._database.transaction(durable=durable) as connection:
            connection.execute(WAVES.upsert(), row)

    def remove(self, targets: Collection[Target]) -> None:
        """Delete the records of these targets. Raises StateDirError."""
        if targets:
            with self._database.transaction() as connection:
                self._database.write_rows(connection, _FORGET, map(self._key, targets))

    def _key(self, target: Target) -> tuple[str, ...]:
        return (self._environment, *target_row(target))
