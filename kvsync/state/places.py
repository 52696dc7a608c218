"""Last known place of each target, to detect when the place behind a name changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kvsync.model.entry import Target
from kvsync.model.place import LocatedTarget
from kvsync.state.context import Context
from kvsync.state.database import Query, Statements
from kvsync.state.rows import name_key, state_key, target_row
from kvsync.state.tables import CONTENDED, LEDGER, LEDGER_SEEN, PLACES, QUARANTINE, REMOVALS, StateTable
from kvsync.util.values import dataclass

_KNOWN = "SELECT place, description, since, previous FROM places WHERE store = ? AND namespace = ?"
_ALL = "SELECT store, namespace, place, description, since, previous FROM places ORDER BY store, namespace"
_PUT = PLACES.upsert()
_FORGET = "DELETE FROM places WHERE store = ? AND namespace = ?"
_BY_NAME = "SELECT 1 FROM ledger WHERE place = ? LIMIT 1"
_OF_STORE = "(changes.store = ? OR changes.place IN (SELECT place FROM places WHERE store = ?))"
_OF_TARGET = """
(changes.store = ? AND changes.namespace = ? OR changes.place IN (SELECT place FROM places WHERE store = ? AND namespace = ?))
"""
_KEPT_BY_ENTRY = (LEDGER, QUARANTINE, CONTENDED, REMOVALS, LEDGER_SEEN)
"""Tables whose rows are bound to a place once it is known. What a clean pass saw is not: it is cheap to see again."""


@dataclass(frozen=True, slots=True)
class PlaceRecord:
    """The place that a target led to last: its key, what to call it, since when (epoch seconds), and what to call the one
    before (None: there was none)."""

    place: str
    description: str
    since: float
    previous: str | None = None


@dataclass(frozen=True, slots=True)
class KnownPlace:
    """What the knowledge of a target is kept by, and what to call the place that it led to before: None when that is the same
    or there was none."""

    key: str
    moved_from: str | None = None


class PlaceHistory:
    """The last known place of each target."""

    def __init__(self, context: Context) -> None:
        self._database = context.database
        self._ahead: dict[Target, PlaceRecord] | None = None
        self._entered: dict[Target, str] = {}

    @contextmanager
    def read_ahead(self) -> Iterator[None]:
        """Inside, what is known is that of this moment and of this process's writes. Raises StateDirError."""
        self._ahead = self.all()
        try:
            yield
        finally:
            self._ahead = None

    def known(self, target: Target) -> PlaceRecord | None:
        """Where a target led last; None for one that was never located. Raises StateDirError."""
        if self._ahead is not None:
            return self._ahead.get(target)
        row = self._database.one(*self.query_of(target))
        return PlaceRecord(*row) if row is not None else None

    def query_of(self, target: Target) -> Query:
        """The query for where a target led last."""
        return _KNOWN, target_row(target)

    def entered(self, target: Target) -> str | None:
        """What the knowledge of a target was kept by when this process last entered it."""
        return self._entered.get(target)

    def all(self) -> dict[Target, PlaceRecord]:
        """Where every target led last. Raises StateDirError."""
        return {Target(*row[:2]): PlaceRecord(*row[2:]) for row in self._database.query(_ALL)}

    def known_without_binding(self, located: LocatedTarget) -> KnownPlace:
        """What is known of a target's place, for a process that only reads: until a writing one binds it, what an earlier
        version knew by name counts for the place that is found. Raises StateDirError."""
        known = self.known(located.target)
        key = name_key(located.target) if self._is_unbound(located, known) else state_key(located)
        return KnownPlace(key, _moved_from(located, known))

    def enter(self, located: LocatedTarget, now: float) -> KnownPlace:
        """Note where a target leads now, and bind what is known by its name alone to that place. Returns what was known.
        Raises StateDirError."""
        key, known = state_key(located), self.known(located.target)
        entered = KnownPlace(key, _moved_from(located, known))
        if known is None or known.place != key or known.description != str(located.place):
            self._put(located, known, entered, now)
        self._entered[located.target] = key
        return entered

    def _put(self, located: LocatedTarget, known: PlaceRecord | None, entered: KnownPlace, now: float) -> None:
        is_unbound = self._is_unbound(located, known)
        since = known.since if known is not None and known.place == entered.key else now
        previous = entered.moved_from or (known.previous if known is not None else None)
        found = PlaceRecord(entered.key, str(located.place), since, previous)
        with self._database.transaction() as connection:
            for table in _KEPT_BY_ENTRY if is_unbound else ():
                _rebind(connection, table, name_key(located.target), entered.key)
            row = (*target_row(located.target), found.place, found.description, since, previous)
            connection.execute(_PUT, row)
        if self._ahead is not None:
            self._ahead[located.target] = found

    def remove(self, target: Target) -> None:
        """Drop where a target led, because that place is gone. Raises StateDirError."""
        self._entered.pop(target, None)
        with self._database.transaction() as connection:
            connection.execute(_FORGET, target_row(target))
        if self._ahead is not None:
            self._ahead.pop(target, None)

    def _is_unbound(self, located: LocatedTarget, known: PlaceRecord | None) -> bool:
        """True when something is known by the target's name, and no other place was ever found behind it."""
        if not located.place.is_resolved:
            return False
        name = name_key(located.target)
        if known is not None and known.place != name:
            return False
        return self._database.one(_BY_NAME, (name,)) is not None


def changes_at(store: str, namespace: str | None) -> tuple[str, tuple[str, ...]]:
    """The condition that finds the changes of a target, or of a store (None), with its parameters: under this name, and under
    former names of the place that it leads to."""
    if namespace is None:
        return _OF_STORE, (store, store)
    return _OF_TARGET, (store, namespace) * 2


def _moved_from(located: LocatedTarget, known: PlaceRecord | None) -> str | None:
    is_moved = known is not None and known.place not in (state_key(located), name_key(located.target))
    return known.description if known is not None and is_moved else None


def _rebind(statements: Statements, table: StateTable, name: str, place: str) -> None:
    """Keep the rows of a name by a place from now on, instead of rows that the place has for the same entries."""
    same = "".join(f" AND other.{column} = {table.name}.{column}" for column in table.key if column != "place")
    replaced = f"EXISTS (SELECT 1 FROM {table.name} AS other WHERE other.place = ?{same})"  # noqa: S608 - constants
    statements.execute(f"DELETE FROM {table.name} WHERE place = ? AND {replaced}", (place, name))  # noqa: S608 - constants
    statements.execute(f"UPDATE {table.name} SET place = ? WHERE place = ?", (place, name))  # noqa: S608 - constants
