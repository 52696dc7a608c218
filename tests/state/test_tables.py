"""One description of the tables: what the migrations make of any old file is what the description says."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kvsync.state import StateDir
from kvsync.state.tables import BYTES, REAL, TABLES, TEXT, WHOLE, StateTable

_KINDS = {"TEXT": TEXT, "BLOB": BYTES, "INTEGER": WHOLE, "REAL": REAL}


@pytest.fixture
def migrated(tmp_path: Path) -> sqlite3.Connection:
    StateDir.open(tmp_path / "state", writable=True).close()
    return sqlite3.connect(tmp_path / "state" / "state.db")


def test_migrations_lead_to_the_described_tables(migrated: sqlite3.Connection) -> None:
    with closing(migrated):
        listed = migrated.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        assert {name for (name,) in listed} == {table.name for table in TABLES} | {"generation"}  # of SQLite alone
        for table in TABLES:
            assert _columns(migrated, table) == [
                (
                    column.name,
                    column.kind,
                    column.optional or _is_row_number(table, column.name),
                    column.name in table.key,
                )
                for column in table.columns
            ]


def _columns(connection: sqlite3.Connection, table: StateTable) -> list[tuple[str, str, bool, bool]]:
    rows = connection.execute(f"PRAGMA table_info({table.name})")
    return sorted(
        ((name, _KINDS[kind], not required, bool(key)) for _, name, kind, required, _, key in rows),
        key=lambda row: table.names.index(row[0]),
    )


def _is_row_number(table: StateTable, column: str) -> bool:
    """SQLite gives such a column a value, so that it need not be declared as required."""
    return table.key == (column,) and column in ("seq", "id", "one")
