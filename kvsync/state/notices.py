"""Notices last sent to each receiver, so that a lasting state is sent once, even across restarts."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from kvsync.model.entry import Target
from kvsync.state.context import Context
from kvsync.state.rows import target_row
from kvsync.state.tables import NOTICES

_PUT = NOTICES.upsert()
_DROP = "DELETE FROM notices WHERE channel = ? AND store = ? AND namespace = ? AND kind = ?"


class Notices:
    """Notices that were sent, by channel."""

    def __init__(self, context: Context) -> None:
        self._database = context.database

    def sent(self, channel: str) -> dict[Target, dict[str, str]]:
        """Notices sent to a channel. Raises StateDirError."""
        found: dict[Target, dict[str, str]] = {}
        sql = "SELECT store, namespace, kind, which FROM notices WHERE channel = ?"
        for store, namespace, kind, which in self._database.query(sql, (channel,)):
            found.setdefault(Target(store, namespace), {})[kind] = which
        return found

    def record(self, channel: str, news: Iterable[tuple[Target, str, str | None]]) -> None:
        """Record the notice sent to a channel for a target and kind; None ends it. Raises StateDirError."""
        with self._database.transaction() as connection:
            for target, kind, which in news:
                if which is None:
                    connection.execute(_DROP, (channel, *target_row(target), kind))
                else:
                    connection.execute(_PUT, (channel, *target_row(target), kind, which))

    def keep(self, channels: Collection[str]) -> None:
        """Forget all channels but these. Raises StateDirError."""
        marks = ", ".join("?" * len(channels)) or "''"  # an empty list is an error to PostgreSQL
        with self._database.transaction() as connection:
            connection.execute(f"DELETE FROM notices WHERE channel NOT IN ({marks})", tuple(channels))  # noqa: S608 - marks
