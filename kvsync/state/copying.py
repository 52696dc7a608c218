"""Copies the state from one engine to the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kvsync.errors import StateDirError
from kvsync.state.directory import StateDir
from kvsync.state.tables import DAEMON, MEMO, TABLES, StateTable

_LEFT_OUT: Final = frozenset({MEMO.name, DAEMON.name})
"""What only the process that wrote it, or the next pass, can use."""

_AT_ONCE: Final = 2_000
"""Rows that are in memory at a time."""


def copy(source: StateDir, target: StateDir, *, dry_run: bool) -> Mapping[str, int]:
    """Copy all tables and the key in one transaction; returns the rows by table. With `dry_run` only count them. Raises
    StateDirError when the target holds anything, because two histories cannot be merged, and while replicas write to either."""
    for state in (source, target):
        _refuse_replicas(state)
    counts = {table.name: _count(source, table) for table in _copied()}
    for table in _copied():
        if _count(target, table):
            use = "use an empty database" if target.is_shared else "move it away, or set another state_dir"
            raise StateDirError(target.name, f"cannot copy into it, because it is not empty ({table.name}); {use}")
    if dry_run:
        return counts
    with target.database.transaction(durable=True) as statements:
        for table in _copied():
            for rows in source.database.pages(table, _AT_ONCE):
                target.database.write_rows(statements, table.insert_rows(), rows)
            target.database.number_after(statements, table)
        target.take_key(source.key)
    return counts


def _refuse_replicas(state: StateDir) -> None:
    if alive := state.replicas():
        names = ", ".join(f"{one.host} process {one.pid}" for one in alive)
        raise StateDirError(state.name, f"cannot copy while it is in use ({names}); stop all replicas and run again")


def _copied() -> list[StateTable]:
    return [table for table in TABLES if table.name not in _LEFT_OUT]


def _count(state: StateDir, table: StateTable) -> int:
    (count,) = state.database.one(f"SELECT count(*) FROM {table.name}")  # noqa: S608 - constants
    return int(count)
