"""Revisions of the files that replicas applied, in the database that they share."""

from __future__ import annotations

from typing import Final

from kvsync.model.revision import AppliedRevision
from kvsync.state.context import Context

KEPT: Final = 200
"""How many revisions are kept."""

_ALL: Final = "SELECT revision, source, at, replica FROM revisions ORDER BY seq"
_ADD: Final = "INSERT INTO revisions (revision, source, at, replica) VALUES (?, ?, ?, ?)"
_PRUNE: Final = "DELETE FROM revisions WHERE seq <= (SELECT max(seq) FROM revisions) - ?"


class Revisions:
    """Revisions that replicas applied. A state directory has none, because only one machine uses it."""

    def __init__(self, context: Context) -> None:
        self._database = context.database

    def all(self) -> list[AppliedRevision]:
        """Everything kept, oldest first. Raises StateDirError."""
        return [AppliedRevision(*row) for row in self._database.query(_ALL)]

    def add(self, applied: AppliedRevision) -> None:
        """Record what is applied from now on. Raises StateDirError."""
        with self._database.transaction() as statements:
            statements.execute(_ADD, (applied.revision, applied.commit, applied.at, applied.by))
            statements.execute(_PRUNE, (KEPT,))
