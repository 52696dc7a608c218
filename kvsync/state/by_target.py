"""Rows of a table by target: looked up one target at a time, or read for all targets at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kvsync.core.model import Target
from kvsync.state.database import Database
from kvsync.state.rows import target_row

Row = tuple[Any, ...]


class RowsByTarget:
    """The rows of one table. Whoever writes rows of a target calls `changed`."""

    def __init__(self, database: Database, table: str, columns: str) -> None:
        self._database = database
        self._all = f"SELECT store, namespace, {columns} FROM {table}"  # noqa: S608 - constants
        self._one = f"SELECT {columns} FROM {table} WHERE store = ? AND namespace = ?"  # noqa: S608 - constants
        self._ahead: Mapping[Target, Sequence[Row]] | None = None
        self._changed: set[Target] = set()

    def of(self, target: Target) -> Sequence[Row]:
        """The rows of a target. Raises StateDirError."""
        if self._ahead is None or target in self._changed:
            return self._database.query(self._one, target_row(target))
        return self._ahead.get(target, ())

    def changed(self, target: Target) -> None:
        """Look the rows of this target up from now on, although they were read ahead."""
        if self._ahead is not None:
            self._changed.add(target)

    @contextmanager
    def read_ahead(self) -> Iterator[None]:
        """Inside, the rows are those of this moment and of this process's writes. Raises StateDirError."""
        rows: defaultdict[Target, list[Row]] = defaultdict(list)
        for store, namespace, *rest in self._database.query(self._all):
            rows[Target(store, namespace)].append(tuple(rest))
        self._ahead = rows
        try:
            yield
        finally:
            self._ahead = None
            self._changed.clear()
