"""Entries that a store refused for what they hold: left alone for a while, until their content changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kvsync.core.model import Identity, Target, sealed
from kvsync.state.by_place import RowsByPlace
from kvsync.state.context import Context
from kvsync.state.rows import entry_row, identity_of

FIRST_SECONDS = 60.0
LONGEST_SECONDS = 6 * 3600.0
"""The first and the longest wait before a refused content is tried again; it doubles in between."""

_PUT = "INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?)"
_OF_ENTRY = "place = ? AND key = ? AND label = ?"
_COUNTS = """
SELECT store, namespace, count(*) FROM quarantine JOIN places USING (place) WHERE until > ? GROUP BY store, namespace
"""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A refused content: how often it was tried, until when it is left alone (epoch seconds), and what the store said."""

    fingerprint: bytes = field(repr=False)
    key: bytes = field(repr=False)
    attempts: int
    until: float
    error: str

    def matches(self, fingerprint: bytes) -> bool:
        """True when the content with this fingerprint is the one that was refused."""
        return self.fingerprint == sealed(fingerprint, self.key)


class Quarantine:
    """Refused contents, by entry. All fingerprints are kept sealed: whether a refused one is sensitive makes no difference."""

    def __init__(self, context: Context) -> None:
        self._context, self._database = context, context.database
        self.rows = RowsByPlace(context.database, "quarantine", "key, label, fingerprint, attempts, until, error")

    def held(self, place: str, now: float) -> dict[Identity, Quarantined]:
        """The entries of a place whose refused content must not be tried yet; ask `matches`. Raises StateDirError."""
        return {
            identity_of(key, label): Quarantined(fingerprint, self._context.key(), attempts, until, error)
            for key, label, fingerprint, attempts, until, error in self.rows.of(place)
            if until > now
        }

    def counts(self, now: float) -> dict[Target, int]:
        """How many entries of each target wait because the store refused them. Raises StateDirError."""
        return {Target(*row[:2]): row[2] for row in self._database.query(_COUNTS, (now,))}

    def put(self, place: str, identity: Identity, fingerprint: bytes, error: str, now: float) -> Quarantined:
        """Hold a content that was just refused, longer each time the same one is. Raises StateDirError."""
        kept, entry = sealed(fingerprint, self._context.key()), entry_row(place, identity)
        with self._database.transaction() as connection:
            sql = f"SELECT attempts FROM quarantine WHERE {_OF_ENTRY} AND fingerprint = ?"  # noqa: S608 - constants
            before = connection.execute(sql, (*entry, kept)).fetchone()
            attempts = (before[0] if before else 0) + 1
            wait = min(FIRST_SECONDS * 2 ** min(attempts - 1, 20), LONGEST_SECONDS)
            held = Quarantined(kept, self._context.key(), attempts, now + wait, self._context.redact(error))
            connection.execute(_PUT, (*entry, kept, held.attempts, held.until, held.error))
        self.rows.changed(place)
        return held

    def clear(self, place: str, identities: Iterable[Identity]) -> None:
        """Let go of entries, as after a success. Raises StateDirError."""
        rows = [entry_row(place, identity) for identity in identities]
        if rows:
            self.rows.changed(place)
            with self._database.transaction() as connection:
                connection.executemany(f"DELETE FROM quarantine WHERE {_OF_ENTRY}", rows)  # noqa: S608 - constants
