"""Undone entries, which stay as an undo left them until the files change them, or an operator releases them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field

from kvsync.model.entry import Identity, Target, sealed
from kvsync.state.by_place import RowsByPlace
from kvsync.state.context import Context
from kvsync.state.rows import entry_row, identity_of
from kvsync.state.tables import UNDONE
from kvsync.util.values import dataclass

_PUT = UNDONE.upsert_rows()
_FORGET = UNDONE.delete_rows()
_COUNTS = "SELECT store, namespace, count(*) FROM undone JOIN places USING (place) GROUP BY store, namespace"


@dataclass(frozen=True, slots=True)
class UndoneEntry:
    """An entry that was undone: the run that was taken back, and since when (epoch seconds). `digest` is the `entry_digest` of
    what the files asked at that moment, sealed."""

    run: str
    since: float
    digest: bytes = field(default=b"", repr=False)


class UndoneEntries:
    """Undone entries by place. Digests are kept sealed, as in the quarantine."""

    def __init__(self, context: Context) -> None:
        self._context, self._database = context, context.database
        self.rows = RowsByPlace(context.database, "undone", "key, label, run, since, digest")

    def all(self, place: str) -> dict[Identity, UndoneEntry]:
        """The undone entries of a place. Raises StateDirError."""
        return {identity_of(*row[:2]): UndoneEntry(*row[2:]) for row in self.rows.of(place)}

    def matches(self, known: UndoneEntry, digest: bytes) -> bool:
        """True when the files still ask what they asked when the entry was undone. Raises StateDirError."""
        return known.digest == sealed(digest, self._context.key())

    def put(self, place: str, held: Mapping[Identity, tuple[bytes, str]]) -> None:
        """Hold entries, each given with the `entry_digest` of what the files ask of it, and the run that was taken back. Raises
        StateDirError."""
        now, key = self._context.clock.now(), self._context.key()
        rows = [(*entry_row(place, one), sealed(digest, key), run, now) for one, (digest, run) in held.items()]
        self.rows.changed(place)
        with self._database.transaction(durable=True) as connection:
            self._database.write_rows(connection, _PUT, rows)

    def remove(self, place: str, identities: Iterable[Identity]) -> None:
        """Let go of entries. Raises StateDirError."""
        rows = [entry_row(place, identity) for identity in identities]
        if rows:
            self.rows.changed(place)
            with self._database.transaction() as connection:
                self._database.write_rows(connection, _FORGET, rows)

    def counts(self) -> dict[Target, int]:
        """How many entries of each target are undone. Raises StateDirError."""
        return {Target(*row[:2]): row[2] for row in self._database.query(_COUNTS)}
