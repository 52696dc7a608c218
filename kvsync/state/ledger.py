"""Local ledger: what kvsync last applied, per entry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, KeysView, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

from kvsync.model.entry import Applied, Identity, Mark
from kvsync.model.snapshot import Version
from kvsync.planning.sealing import SealingKeys, name_of
from kvsync.state.context import Context
from kvsync.state.database import Statements
from kvsync.state.rows import entry_row, identity_of
from kvsync.state.tables import LEDGER, LEDGER_SEEN
from kvsync.util.pieces import pieces

_COLUMNS = "owner, fingerprint, ttl, sensitive, protected, etag, expires_at, unseen_since, seal"
_EACH = LEDGER.find_rows(_COLUMNS)
_ALL = f"SELECT key, label, {_COLUMNS} FROM ledger WHERE place = ?"  # noqa: S608 - constants
_VERSIONS = "SELECT key, label, fingerprint, etag, sensitive FROM ledger WHERE place = ?"
_ANY = "SELECT 1 FROM ledger WHERE place = ? LIMIT 1"
_NEAREST = """
SELECT key, label, expires_at FROM ledger WHERE place = ? AND expires_at > ? ORDER BY expires_at LIMIT 1
"""
_PUT = LEDGER.upsert_rows()
_SEEN = "SELECT taken_in, left_there FROM ledger_seen WHERE place = ?"
_TAKE_IN = LEDGER_SEEN.upsert()
_LEAVE = """
INSERT INTO ledger_seen VALUES (?, NULL, ?)
ON CONFLICT (place) DO UPDATE SET left_there = excluded.left_there
"""
_make_identity = partial(tuple.__new__, Identity)  # half the time of Identity(…), which shows in a large target

_AT_ONCE = 2_000
"""Entries that are read or written while all others wait for the state directory."""

_FORGET = "DELETE FROM ledger WHERE place = ?"
_FORGET_SEEN = "DELETE FROM ledger_seen WHERE place = ?"
_DROP = LEDGER.delete_rows()


class LedgerRows(Mapping[Identity, Applied]):
    """Rows of the ledger, each made into a value when it is asked for."""

    def __init__(self, keys: SealingKeys, rows: Mapping[Identity, Sequence[Any]]) -> None:
        self._keys, self._rows = keys, rows

    def __getitem__(self, identity: Identity) -> Applied:
        return _applied(self._keys, self._rows[identity])

    def __iter__(self) -> Iterator[Identity]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, identity: object) -> bool:
        return identity in self._rows

    def keys(self) -> KeysView[Identity]:
        """The identities, as those of a dict."""
        return self._rows.keys()


class RecordedVersions:
    """Which version of each entry was applied last, without the other columns of the ledger."""

    def __init__(self, rows: Sequence[tuple[str, str, bytes, str | None, int]]) -> None:
        names = [(key, label[1:] if label else None) for key, label, *_ in rows]
        self._rows = dict(zip(map(_make_identity, names), rows, strict=True))

    def keys(self) -> KeysView[Identity]:
        """The identities."""
        return self._rows.keys()

    def differing(self, versions: Iterable[Version]) -> list[Version]:
        """Those of the versions that are not recorded, or whose fingerprint is sealed in the ledger."""
        find, other = self._rows.get, ("", "", b"", None, 1)
        return [one for one in versions if find(one[0], other)[2:] != (one[2], one[1], 0)]


class Ledger:
    """The entries kvsync has applied, by the key of their place (see `StateDir.places`). The fingerprints of sensitive ones
    are kept sealed; `Applied.matches` compares them."""

    def __init__(self, context: Context) -> None:
        self._database, self._sealing_keys = context.database, context.sealing_keys

    def get(self, place: str, identities: Iterable[Identity]) -> dict[Identity, Applied]:
        """Those of the identities that the ledger knows. Raises StateDirError."""
        left = iter(identities)
        first = next(left, None)
        if first is None or self._database.one(_ANY, (place,)) is None:
            return {}  # a first apply asks for very many that do not exist
        found: dict[Identity, Applied] = {}
        keys = self._sealing_keys(place)
        for wanted in pieces(chain((first,), left), _AT_ONCE):
            rows = self._database.each(_EACH, [entry_row(place, identity) for identity in wanted])
            known = zip(wanted, rows, strict=True)
            found.update((identity, _applied(keys, row)) for identity, row in known if row is not None)
        return found

    def all(self, place: str) -> LedgerRows:
        """All that was applied at a place. Raises StateDirError."""
        rows = self._database.query(_ALL, (place,))
        return LedgerRows(self._sealing_keys(place), {identity_of(*row[:2]): row[2:] for row in rows})

    def versions(self, place: str) -> RecordedVersions:
        """Which versions were applied at a place. Raises StateDirError."""
        return RecordedVersions(self._database.query(_VERSIONS, (place,)))

    def nearest_end(self, place: str, now: float) -> tuple[Identity, float] | None:
        """The entry of a place whose lifetime ends first after `now`, and when (epoch seconds); None when none has an end.
        Raises StateDirError."""
        row = self._database.one(_NEAREST, (place, now))
        return (identity_of(*row[:2]), row[2]) if row is not None else None

    def record(self, place: str, applied: Mapping[Identity, Applied], gone: Iterable[Identity] = ()) -> None:
        """Note what is now in agreement, and forget what is gone, together. Raises StateDirError."""
        with self._database.transaction() as connection:
            self.write(connection, place, applied, gone)

    def remove(self, place: str) -> None:
        """Forget everything that was applied at a place, and the ledger that its store keeps. Raises StateDirError."""
        with self._database.transaction() as connection:
            connection.execute(_FORGET, (place,))
            connection.execute(_FORGET_SEEN, (place,))

    def seen(self, place: str) -> tuple[bytes, ...]:
        """The ledger that a store keeps itself, as this machine knows it: as last taken in, and as left there since. Raises
        StateDirError."""
        row = self._database.one(_SEEN, (place,)) or ()
        return tuple(bytes(document) for document in row if document is not None)

    def take_in(
        self,
        place: str,
        document: bytes,
        applied: Mapping[Identity, Applied],
        gone: Iterable[Identity],
        *,
        left: bool = False,
    ) -> None:
        """Note what the ledger that a store keeps itself says, as it was found or (`left`) as we left it there, and with it
        what is thereby known or gone here. Raises StateDirError."""
        with self._database.transaction() as connection:
            self.write(connection, place, applied, gone)
            if left:
                connection.execute(_LEAVE, (place, document))
            else:
                connection.execute(_TAKE_IN, (place, document, None))

    def write(
        self,
        connection: Statements,
        place: str,
        applied: Mapping[Identity, Applied],
        gone: Iterable[Identity] = (),
    ) -> None:
        """The same as `record`, inside a transaction that is already open."""
        self._database.write_rows(connection, _DROP, [entry_row(place, identity) for identity in gone])
        keys = self._sealing_keys(place)
        rows = [_row(keys, entry_row(place, identity), one) for identity, one in applied.items()]
        self._database.write_rows(connection, _PUT, rows)


def _row(keys: SealingKeys, entry: tuple[str, str, str], applied: Applied) -> tuple[Any, ...]:
    mark = applied.mark
    if mark.sensitive:
        mark = keys.sealed(mark)
    seal = name_of(mark.key) if mark.key is not None else None
    flags = (mark.ttl, int(mark.sensitive), int(mark.protected))
    moments = (applied.etag, applied.expires_at, applied.unseen_since)
    return (*entry, mark.owner, mark.fingerprint, *flags, *moments, seal if seal and seal != keys.own_name else None)


def _applied(keys: SealingKeys, row: Sequence[Any]) -> Applied:
    owner, fingerprint, ttl, sensitive, protected, etag, expires_at, unseen_since, seal = row
    key = None
    if sensitive:
        key = keys.own() if seal is None else keys.key(seal)
    mark = Mark(owner, fingerprint, ttl, bool(sensitive), bool(protected), key, is_recorded=True)
    return Applied(mark, etag, expires_at, unseen_since)
