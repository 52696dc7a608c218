"""Paused targets and stores."""

from __future__ import annotations

from dataclasses import dataclass

from kvsync.model.entry import Target
from kvsync.state.context import Context

_ONE = "SELECT store, namespace, reason, since FROM pauses WHERE store = ? AND (namespace IS NULL) = "
_COVERING = f"{_ONE} 1 UNION ALL {_ONE} 0 AND ifnull(namespace, '') = ? ORDER BY 2 LIMIT 1"
"""In the words of the index, so that one of thousands of pauses is found at once."""


@dataclass(frozen=True, slots=True)
class Pause:
    """One pause; `namespace` None covers the whole store. `since` is in epoch seconds."""

    store: str
    namespace: str | None
    reason: str | None
    since: float

    def __str__(self) -> str:
        return self.store if self.namespace is None else f"{self.store}/{self.namespace}"


class Pauses:
    """The pauses in force. One of a whole store covers its namespaces, and ends apart from theirs."""

    def __init__(self, context: Context) -> None:
        self._database = context.database

    def pause(self, store: str, namespace: str | None, reason: str | None, now: float) -> bool:
        """Pause; True when this was not paused before, else only the reason is replaced. Raises StateDirError."""
        with self._database.transaction() as connection:
            sql = "UPDATE pauses SET reason = ? WHERE store = ? AND namespace IS ?"
            if connection.execute(sql, (reason, store, namespace)).rowcount:
                return False
            connection.execute("INSERT INTO pauses VALUES (?, ?, ?, ?)", (store, namespace, reason, now))
            return True

    def resume(self, store: str, namespace: str | None) -> bool:
        """End exactly this pause; False when there is none. Raises StateDirError."""
        with self._database.transaction() as connection:
            sql = "DELETE FROM pauses WHERE store = ? AND namespace IS ?"
            return connection.execute(sql, (store, namespace)).rowcount > 0

    def find(self, target: Target) -> Pause | None:
        """The pause that holds a target, the store's before its own. Raises StateDirError."""
        row = self._database.one(_COVERING, (target.store, target.store, target.namespace))
        return None if row is None else Pause(*row)

    def is_paused(self, target: Target) -> bool:
        """True when a pause holds the target. Raises StateDirError."""
        return self.find(target) is not None

    def all(self) -> list[Pause]:
        """Every pause, by store and namespace. Raises StateDirError."""
        sql = "SELECT store, namespace, reason, since FROM pauses ORDER BY store, namespace"
        return [Pause(*row) for row in self._database.query(sql)]
