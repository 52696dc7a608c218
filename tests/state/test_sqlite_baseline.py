"""A new `state.db` is what the migrations make of the oldest one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from kvsync.state.schema import STEPS
from kvsync.state.sqlite_baseline import BASELINE


def _made_by(*scripts: str) -> dict[str, Any]:
    with closing(sqlite3.connect(":memory:")) as made:
        for script in scripts:
            made.executescript(script)
        return _described(made)


def _described(made: sqlite3.Connection) -> dict[str, Any]:
    """All that SQLite says about tables, columns and indexes, apart from how their statements are spelled."""
    tables = made.execute(
        "SELECT name, wr, strict, sql LIKE '%AUTOINCREMENT%', sql LIKE '%CHECK (one = 1)%'"
        " FROM pragma_table_list JOIN sqlite_master USING (name) WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
    ).fetchall()
    described: dict[str, Any] = {"tables": tables, "counted": made.execute("SELECT * FROM generation").fetchall()}
    for name, *_ in tables:
        columns = made.execute(
            'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info(?)', [name]
        ).fetchall()
        indexes = made.execute('SELECT name, "unique", origin, partial FROM pragma_index_list(?) ORDER BY name', [name])
        described[name] = (columns, [(*one, _columns(made, one[0])) for one in indexes.fetchall()])
    return described


def _columns(made: sqlite3.Connection, index: str) -> list[Any]:
    found = made.execute("SELECT name, desc, coll, key FROM pragma_index_xinfo(?)", [index]).fetchall()
    expression = made.execute(
        "SELECT sql FROM sqlite_master WHERE name = ? AND sql LIKE '%IS NULL%'", [index]
    ).fetchall()
    return [*found, *expression]


def test_a_new_database_is_what_the_migrations_lead_to() -> None:
    """Tables, columns, keys, defaults and indexes are the same, in the same order."""
    assert _made_by(";".join(BASELINE)) == _made_by(*STEPS)


def test_the_comparison_notices_what_a_migration_adds() -> None:
    """A column or an index more is a difference."""
    for more in (
        "ALTER TABLE runs ADD COLUMN more TEXT",
        "CREATE INDEX more ON runs (source)",
        "CREATE TABLE more (one)",
    ):
        assert _made_by(";".join(BASELINE), more) != _made_by(*STEPS)
