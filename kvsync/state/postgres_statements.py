"""Statements in a PostgreSQL database, in the dialect of the state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Final

import psycopg

from kvsync.state.database import Statements
from kvsync.state.tables import BYTES, REAL, TEXT, WHOLE, RowStatement, StateColumn, quoted
from kvsync.state.watchdog import Watchdog

_ROWS: Final = 1_000
_BYTES: Final = 4_000_000
"""At most so many rows in one statement, and no further one once their texts have so many characters or bytes."""

_KINDS: Final = {
    TEXT: ("text", str),
    BYTES: ("bytea", bytes),
    WHOLE: ("bigint", int),
    REAL: ("double precision", float),
}
"""Of a column: its type in an array, and the only type of value that the driver may be given in one."""


class PostgresStatements:
    """`Statements` of an open PostgreSQL transaction."""

    def __init__(self, connection: psycopg.Connection[Any], watchdog: Watchdog | None = None) -> None:
        self._connection, self._watchdog = connection, watchdog

    def execute(self, sql: str, parameters: Sequence[object] = (), /) -> psycopg.Cursor[Any]:
        """Run one statement."""
        self._feed()
        return self._connection.execute(_translated(sql), tuple(parameters))

    def write_rows(self, statement: RowStatement, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement for all rows, many at a time."""
        for some in _limited(rows):
            self._for_all(statement, some)

    def records(self, sql: str, parameters: Sequence[object]) -> Any:
        """The only row of a query for arrays of records, whose values have the types of their columns."""
        self._feed()
        return self._connection.execute(_translated(sql), tuple(parameters), binary=True).fetchone()

    def each(self, statement: RowStatement, keys: Sequence[Sequence[object]]) -> list[Any]:
        """The row with each of these keys, or None."""
        size, found = len(statement.columns), dict[tuple[object, ...], Any]()
        for some in _limited(keys):
            found |= {row[:size]: row[size:] for row in self._for_all(statement, some)}
        return [found.get(tuple(key)) for key in keys]

    def _for_all(self, statement: RowStatement, rows: Sequence[Sequence[object]]) -> psycopg.Cursor[Any]:
        """Run a statement with an array for each column."""
        self._feed()
        pairs = zip(statement.columns, zip(*rows, strict=True), strict=True)
        return self._connection.execute(_many(statement), [_array(column, values) for column, values in pairs])

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


def _limited(rows: Iterable[Sequence[object]]) -> Iterator[list[Sequence[object]]]:
    """Lists of rows for one statement each, which must end in time: not too many, and none that is large as a whole."""
    some: list[Sequence[object]] = []
    size = 0
    for row in rows:
        some.append(row)
        size += sum(len(value) for value in row if isinstance(value, bytes | str))
        if len(some) >= _ROWS or size >= _BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


@cache
def _many(statement: RowStatement) -> str:
    arrays = ", ".join(f"%b::{_KINDS[column.kind][0]}[]" for column in statement.columns)
    names = ", ".join(quoted(column.name) for column in statement.columns)
    return statement.many.format(rows=f"unnest({arrays}) AS given ({names})")


def _array(column: StateColumn, values: Iterable[Any]) -> list[Any]:
    kind = _KINDS[column.kind][1]
    return [value if value is None or type(value) is kind else _converted(value, kind) for value in values]


def _converted(value: Any, kind: type) -> object:
    """A value of a subclass, or a whole number where a column is real."""
    if isinstance(value, kind) or (kind is float and isinstance(value, int)):
        return kind(value)
    raise TypeError(f"a column of type {kind.__name__} cannot hold a value of type {type(value).__name__}")


def _translated(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")
