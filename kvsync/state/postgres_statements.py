"""Statements in a PostgreSQL database, in the dialect of the state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from kvsync.state.database import Statements
from kvsync.state.watchdog import Watchdog


class PostgresStatements:
    """`Statements` of an open PostgreSQL transaction."""

    def __init__(self, connection: psycopg.Connection[Any], watchdog: Watchdog | None = None) -> None:
        self._connection, self._watchdog = connection, watchdog

    def execute(self, sql: str, parameters: Sequence[object] = (), /) -> psycopg.Cursor[Any]:
        """Run one statement."""
        self._feed()
        return self._connection.execute(_translated(sql), tuple(parameters))

    def executemany(self, sql: str, rows: Iterable[Sequence[object]], /) -> None:
        """Run one statement for each row."""
        rows = list(rows)
        if rows:
            self._feed()
            with self._connection.cursor() as cursor:
                cursor.executemany(_translated(sql), rows)

    def records(self, sql: str, parameters: Sequence[object]) -> Any:
        """The only row of a query for arrays of records, whose values have the types of their columns."""
        self._feed()
        return self._connection.execute(_translated(sql), tuple(parameters), binary=True).fetchone()

    def each(self, sql: str, parameters: Iterable[Sequence[object]]) -> list[Any]:
        """The first row, or None, for each set of parameters."""
        with self._connection.pipeline():
            cursors = [self.execute(sql, one) for one in parameters]
        return [cursor.fetchone() for cursor in cursors]

    def _feed(self) -> None:
        if self._watchdog is not None:
            self._watchdog.feed()


def version_of(statements: Statements) -> int | None:
    """The version of the schema, None without one."""
    (there,) = statements.execute("SELECT to_regclass('kvsync_state')::text").fetchone()
    if there is None:
        return None
    row = statements.execute("SELECT version FROM kvsync_state").fetchone()
    return None if row is None else int(row[0])


def _translated(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")
