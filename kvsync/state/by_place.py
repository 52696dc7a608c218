"""Table rows by place: read for one place, or for all places at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kvsync.state.database import Database, Query

Row = tuple[Any, ...]


class RowsByPlace:
    """Rows of one table by place. Call `changed` after writing rows of a place."""

    def __init__(self, database: Database, table: str, columns: str) -> None:
        self._database = database
        self._all = f"SELECT place, {columns} FROM {table}"  # noqa: S608 - constants
        self._one = f"SELECT {columns} FROM {table} WHERE place = ?"  # noqa: S608 - constants
        self._ahead: Mapping[str, Sequence[Row]] | None = None
        self._changed: set[str] = set()

    def of(self, place: str) -> Sequence[Row]:
        """The rows of a place. Raises StateDirError."""
        if self._ahead is None or place in self._changed:
            return self._database.query(*self.query_of(place))
        return self._ahead.get(place, ())

    def query_of(self, place: str) -> Query:
        """The query for the rows of a place."""
        return self._one, (place,)

    def changed(self, place: str) -> None:
        """Read the rows of this place again from now on, even inside `read_ahead`."""
        if self._ahead is not None:
            self._changed.add(place)

    @contextmanager
    def read_ahead(self) -> Iterator[None]:
        """Inside, the rows are those of this moment and of this process's writes. Raises StateDirError."""
        rows: defaultdict[str, list[Row]] = defaultdict(list)
        for place, *rest in self._database.query(self._all):
            rows[place].append(tuple(rest))
        self._ahead = rows
        try:
            yield
        finally:
            self._ahead = None
            self._changed.clear()
