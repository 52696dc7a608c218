"""Quarantined entries, whose write a store refused; kvsync retries them later, or when the write changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field

from kvsync.model.entry import Identity, Target, sealed
from kvsync.state.by_place import RowsByPlace
from kvsync.state.contended import SET_BACK
from kvsync.state.context import Context
from kvsync.state.rows import entry_row, identity_of
from kvsync.state.tables import QUARANTINE
from kvsync.util.backoff import BackoffPolicy
from kvsync.util.values import dataclass

WAITS = BackoffPolicy(base=60.0, cap=6 * 3600.0)
"""Before a refused write is tried again, without jitter."""

_PUT = QUARANTINE.upsert()
_RELEASE = QUARANTINE.delete_rows()
_ATTEMPTS = "SELECT attempts FROM quarantine WHERE place = ? AND key = ? AND label = ? AND digest = ?"
_COUNTS = """
SELECT store, namespace, count(*) FROM quarantine JOIN places USING (place) WHERE until > ? AND until <= ?
GROUP BY store, namespace
"""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A refused write: how often it was tried, when it may be tried again (epoch seconds), and what the store said."""

    digest: bytes = field(repr=False)
    key: bytes = field(repr=False)
    attempts: int
    until: float
    error: str

    def waits(self, now: float) -> bool:
        """True when the write must not be tried yet. A wait that is longer than any was noted before the clock was set back."""
        return 0 < self.until - now <= WAITS.longest(self.attempts) + SET_BACK

    def matches(self, digest: bytes) -> bool:
        """True when the write with this digest (`write_digest`) is the one that was refused."""
        return self.digest == sealed(digest, self.key)


class Quarantine:
    """Refused writes, by entry. Their digests are kept sealed, because a guessed value would give a guessed digest."""

    def __init__(self, context: Context) -> None:
        self._context, self._database = context, context.database
        self.rows = RowsByPlace(context.database, "quarantine", "key, label, digest, attempts, until, error")

    def all(self, place: str) -> dict[Identity, Quarantined]:
        """Every refused write of a place, also those that may be tried again by now. Raises StateDirError."""
        rows, wall = self.rows.of(place), self._context.timeline.to_wall_clock
        return {
            identity_of(key, label): Quarantined(digest, self._context.key(), attempts, wall(until), error)
            for key, label, digest, attempts, until, error in rows
        }

    def held(self, place: str, now: float) -> dict[Identity, Quarantined]:
        """The refused writes of a place that must not be tried yet. Raises StateDirError."""
        return {identity: held for identity, held in self.all(place).items() if held.waits(now)}

    def counts(self, now: float) -> dict[Target, int]:
        """How many entries of each target wait because the store refused them. Raises StateDirError."""
        kept = self._context.timeline.steady(now)
        return {Target(*row[:2]): row[2] for row in self._database.query(_COUNTS, (kept, kept + WAITS.cap + SET_BACK))}

    def put(self, place: str, identity: Identity, digest: bytes, error: str, now: float) -> Quarantined:
        """Hold a write that was just refused, longer each time it is the same one. Raises StateDirError."""
        kept, entry = sealed(digest, self._context.key()), entry_row(place, identity)
        with self._database.transaction() as connection:
            before = connection.execute(_ATTEMPTS, (*entry, kept)).fetchone()
            attempts = (before[0] if before else 0) + 1
            wait = WAITS.longest(attempts)
            held = Quarantined(kept, self._context.key(), attempts, now + wait, self._context.redact(error))
            until = self._context.timeline.steady(held.until)
            connection.execute(_PUT, (*entry, kept, held.attempts, until, held.error))
        self.rows.changed(place)
        return held

    def clear(self, place: str, identities: Iterable[Identity]) -> None:
        """Release entries. Raises StateDirError."""
        rows = [entry_row(place, identity) for identity in identities]
        if rows:
            self.rows.changed(place)
            with self._database.transaction() as connection:
                self._database.write_rows(connection, _RELEASE, rows)
