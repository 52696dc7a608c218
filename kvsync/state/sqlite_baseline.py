"""Schema of a new `state.db`, made from the description of the tables. It equals the result of all migrations in `schema`."""

from __future__ import annotations

from typing import Final

from kvsync.state.tables import BYTES, REAL, TABLES, TEXT, WHOLE, StateColumn, StateTable, quoted

_KINDS: Final = {TEXT: "TEXT", BYTES: "BLOB", WHOLE: "INTEGER", REAL: "REAL"}

_DECLARED: Final = {
    ("runs", "seq"): "INTEGER PRIMARY KEY AUTOINCREMENT",
    ("runs", "id"): "TEXT NOT NULL UNIQUE",
    ("contended", "digest"): "BLOB NOT NULL DEFAULT x''",
    ("daemon", "one"): "INTEGER PRIMARY KEY CHECK (one = 1)",
}
"""Columns that SQLite declares with more than the description has."""


def _create(table: StateTable) -> str:
    columns = ", ".join(f"{quoted(column.name)} {_declared(table, column)}" for column in table.columns)
    if not table.key or _is_row_number(table):
        return f"CREATE TABLE {table.name} ({columns})"
    return f"CREATE TABLE {table.name} ({columns}, PRIMARY KEY ({', '.join(map(quoted, table.key))})) WITHOUT ROWID"


def _declared(table: StateTable, column: StateColumn) -> str:
    if (declared := _DECLARED.get((table.name, column.name))) is not None:
        return declared
    kind = _KINDS[column.kind]
    if _is_row_number(table) and column.name in table.key:
        return f"{kind} PRIMARY KEY"
    default = "" if column.default is None else f" DEFAULT {column.default}"
    return f"{kind}{'' if column.optional else ' NOT NULL'}{default}"


def _is_row_number(table: StateTable) -> bool:
    """True for a table whose key is one integer, which SQLite keeps as the number of the row."""
    return any((column.name,) == table.key and column.kind == WHOLE for column in table.columns)


BASELINE: Final = (
    *(_create(table) for table in TABLES),
    "CREATE UNIQUE INDEX pauses_once ON pauses (store, namespace IS NULL, ifnull(namespace, ''))",
    "CREATE INDEX changes_by_place ON changes (place)",
    "CREATE INDEX runs_by_status ON runs (status)",
    "CREATE INDEX runs_by_steady_end ON runs (steady_at)",
    "CREATE INDEX places_by_place ON places (place)",
    "CREATE TABLE generation (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL)",
    "INSERT INTO generation (one, number) VALUES (1, 0)",
)
"""The statements, in order."""
