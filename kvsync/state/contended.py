"""Contended entries, which another writer keeps changing back; kvsync heals them at increasing intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field

from kvsync.model.entry import Identity, Target, sealed
from kvsync.state.by_place import RowsByPlace
from kvsync.state.context import Context
from kvsync.state.rows import entry_row, identity_of
from kvsync.state.tables import CONTENDED
from kvsync.util.backoff import BackoffPolicy
from kvsync.util.values import dataclass

PATIENCE = 3
"""From this many heals of one entry on, each soon after the other, it counts as contended."""

WAITS = BackoffPolicy(base=60.0, cap=6 * 3600.0)
"""After each heal of a contended entry, without jitter."""

CALM_SECONDS = 3600.0
"""An entry that stayed as it was healed for this long beyond its wait is no longer contended."""

SET_BACK = 60.0
"""Seconds by which a noted moment must lie ahead for the clock to count as set back meanwhile."""

_ENTRY = "SELECT count, last, until, digest FROM contended WHERE place = ? AND key = ? AND label = ?"
_PUT = CONTENDED.upsert()
_FORGET = CONTENDED.delete_rows()
_COUNTS = """
SELECT store, namespace, count(*) FROM contended JOIN places USING (place) WHERE last <= ? AND until > ?
GROUP BY store, namespace
"""


@dataclass(frozen=True, slots=True)
class Contention:
    """How often an entry was healed in a row, when last, and until when it is not healed again (epoch seconds). The count is
    of one desired entry: `digest` is its `entry_digest`, sealed."""

    count: int
    last: float
    until: float
    digest: bytes = field(default=b"", repr=False)

    @property
    def contended(self) -> bool:
        """True when another writer is evidently at work."""
        return self.count >= PATIENCE

    def waits(self, now: float) -> bool:
        """True when the entry must not be healed yet. A heal that lies ahead was noted before the clock was set back: whatever
        it says of the future would hold the entry for as long as the clock was wrong."""
        return self.last - SET_BACK <= now < self.until

    def after_heal(self, now: float, digest: bytes) -> Contention:
        """What is known after one more heal, to the desired entry with this sealed digest."""
        starts_anew = now > self.until + CALM_SECONDS or digest != self.digest
        count = 1 if starts_anew else self.count + 1
        wait = WAITS.longest(count - PATIENCE + 1) if count >= PATIENCE else 0.0
        return Contention(count, now, now + wait, digest)


_NEVER = Contention(0, 0.0, 0.0)


class ContendedEntries:
    """Heals of drift, counted by entry. Digests are kept sealed, as in the quarantine."""

    def __init__(self, context: Context) -> None:
        self._context, self._database = context, context.database
        self.rows = RowsByPlace(context.database, "contended", "key, label, count, last, until, digest")

    def record_heals(self, place: str, digests: Mapping[Identity, bytes], now: float) -> dict[Identity, Contention]:
        """Count a heal of each of these entries, given with their `entry_digest`; returns those that are contended now. Raises
        StateDirError."""
        contended = {}
        self.rows.changed(place)
        with self._database.transaction() as connection:
            for identity, digest in digests.items():
                entry = entry_row(place, identity)
                row = connection.execute(_ENTRY, entry).fetchone()
                known = (Contention(*row) if row else _NEVER).after_heal(now, self._sealed(digest))
                connection.execute(_PUT, (*entry, known.count, known.last, known.until, known.digest))
                if known.contended:
                    contended[identity] = known
        return contended

    def held(self, place: str, now: float) -> dict[Identity, Contention]:
        """The entries of a place that must not be healed yet. Raises StateDirError."""
        return {identity: known for identity, known in self.all(place).items() if known.waits(now)}

    def all(self, place: str) -> dict[Identity, Contention]:
        """All that is known of a place. Raises StateDirError."""
        return {identity_of(*row[:2]): Contention(*row[2:]) for row in self.rows.of(place)}

    def matches(self, known: Contention, digest: bytes) -> bool:
        """True when the heals were counted for the desired entry with this `entry_digest`. Raises StateDirError."""
        return known.digest == self._sealed(digest)

    def counts(self, now: float) -> dict[Target, int]:
        """How many entries of each target must not be healed yet. Raises StateDirError."""
        return {Target(*row[:2]): row[2] for row in self._database.query(_COUNTS, (now + SET_BACK, now))}

    def remove(self, place: str, identities: Iterable[Identity]) -> None:
        """Forget the heals of entries. Raises StateDirError."""
        rows = [entry_row(place, identity) for identity in identities]
        if rows:
            self.rows.changed(place)
            with self._database.transaction() as connection:
                self._database.write_rows(connection, _FORGET, rows)

    def _sealed(self, digest: bytes) -> bytes:
        return sealed(digest, self._context.key())
