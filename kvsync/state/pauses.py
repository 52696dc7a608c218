"""Paused targets and stores.

A pause is for names, and for the places behind them: a store that was renamed in `kvsync.yaml` is still held by the pauses of
its former name, until someone ends them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from kvsync.model.entry import Target
from kvsync.state.context import Context
from kvsync.state.database import Query
from kvsync.state.rows import target_row
from kvsync.state.tables import PAUSES
from kvsync.util.values import dataclass

_IN_STORE = "SELECT store, namespace, reason, since FROM pauses WHERE store = ? AND namespace "
_BY_PLACE = """
SELECT pauses.store, pauses.namespace, pauses.reason, pauses.since FROM places AS present
JOIN places AS former ON former.place = present.place
JOIN pauses ON pauses.store = former.store AND (pauses.namespace IS NULL OR pauses.namespace = former.namespace)
WHERE present.store = ? AND present.namespace = ?
"""
_COVERING = f"{_IN_STORE}IS NULL UNION ALL {_IN_STORE}= ? UNION ALL {_BY_PLACE}"
_PLACES = "SELECT store, namespace, place FROM places"


@dataclass(frozen=True, slots=True)
class Pause:
    """One pause; `namespace` None covers the whole store. `since` is in epoch seconds."""

    store: str
    namespace: str | None
    reason: str | None
    since: float

    def __str__(self) -> str:
        return self.store if self.namespace is None else f"{self.store}/{self.namespace}"


class PausesByTarget:
    """The pause that holds each target, of `pauses` and the places that targets lead to."""

    def __init__(self, pauses: Sequence[Pause], places: Mapping[tuple[str, str], str]) -> None:
        self._names = {(one.store, one.namespace): one for one in pauses}
        self._places = places
        self._by_place: dict[str, Pause] = {}
        for (store, namespace), place in places.items() if pauses else ():
            if (found := self._of_name(store, namespace)) is not None:
                self._by_place.setdefault(place, found)

    def of(self, target: Target) -> Pause | None:
        """The pause that holds a target, the store's before its own."""
        found = self._of_name(target.store, target.namespace)
        return found or self._by_place.get(self._places.get(target_row(target), ""))

    def _of_name(self, store: str, namespace: str) -> Pause | None:
        return self._names.get((store, None)) or self._names.get((store, namespace))


class Pauses:
    """The pauses in force. A pause of a store covers all its namespaces; it ends independently of theirs."""

    def __init__(self, context: Context) -> None:
        self._database = context.database

    def pause(self, store: str, namespace: str | None, reason: str | None, now: float) -> bool:
        """Pause; True when this was not paused before, else only the reason is replaced. Raises StateDirError."""
        with self._database.transaction() as connection:
            where, names = _exactly(store, namespace)
            sql = f"UPDATE pauses SET reason = ? WHERE {where}"  # noqa: S608 - constants
            if connection.execute(sql, (reason, *names)).rowcount:
                return False
            connection.execute(PAUSES.insert(), (store, namespace, reason, now))
            return True

    def resume(self, store: str, namespace: str | None) -> bool:
        """End exactly this pause; False when there is none. Raises StateDirError."""
        with self._database.transaction() as connection:
            where, names = _exactly(store, namespace)
            sql = f"DELETE FROM pauses WHERE {where}"  # noqa: S608 - constants
            return connection.execute(sql, names).rowcount > 0

    def find(self, target: Target) -> Pause | None:
        """The pause that holds a target, the store's before its own. Raises StateDirError."""
        found = [Pause(*row) for row in self._database.query(*self.query_of(target))]
        return min(found, key=lambda pause: (pause.store != target.store, pause.namespace is not None), default=None)

    def query_of(self, target: Target) -> Query:
        """The query for the pauses that hold a target."""
        return _COVERING, (target.store, *target_row(target) * 2)

    def is_paused(self, target: Target) -> bool:
        """True when a pause holds the target. Raises StateDirError."""
        return self.find(target) is not None

    def among(self, targets: Collection[Target]) -> frozenset[Target]:
        """Those of the targets that a pause holds. Raises StateDirError."""
        found = self.by_target()
        return frozenset(one for one in targets if found.of(one) is not None)

    def by_target(self) -> PausesByTarget:
        """The pause of each target. Raises StateDirError."""
        pauses = self.all()
        rows = self._database.query(_PLACES) if pauses else ()
        return PausesByTarget(pauses, {(store, namespace): place for store, namespace, place in rows})

    def all(self) -> list[Pause]:
        """Every pause, by store and namespace. Raises StateDirError."""
        sql = "SELECT store, namespace, reason, since FROM pauses ORDER BY store, namespace IS NOT NULL, namespace"
        return [Pause(*row) for row in self._database.query(sql)]


def _exactly(store: str, namespace: str | None) -> tuple[str, tuple[str, ...]]:
    """The condition that finds one pause, and its parameters."""
    if namespace is None:
        return "store = ? AND namespace IS NULL", (store,)
    return "store = ? AND namespace = ?", (store, namespace)
