"""Rows that a task reads before it asks for them, in one statement for many tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import Any, Final

from kvsync.state.database import Query
from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class _RowsAhead:
    """The rows that a task has read ahead from one database, and whether they still hold."""

    database: ReadAhead
    rows: dict[Query, list[Any]]
    is_valid: Callable[[], bool]


_KEPT: Final[ContextVar[_RowsAhead | None]] = ContextVar("rows read ahead", default=None)


class ReadAhead:
    """The rows of one database that the running task has read ahead. Each answer is given once, so that a second question is
    asked of the database; nothing is left once the task writes."""

    def keep(self, rows: Iterable[tuple[Query, list[Any]]], is_valid: Callable[[], bool]) -> None:
        """Answer these queries from here on, and no earlier ones, while `is_valid` says so."""
        _KEPT.set(_RowsAhead(self, dict(rows), is_valid))

    def take(self, sql: str, parameters: Sequence[object]) -> list[Any] | None:
        """The rows of a query; None if it was not read ahead."""
        kept = self._kept()
        return (
            kept.rows.pop((sql, tuple(parameters)), None)
            if kept is not None and kept.rows and kept.is_valid()
            else None
        )

    def drop(self) -> None:
        """Forget everything: it is about to change."""
        if (kept := self._kept()) is not None:
            kept.rows.clear()

    def _kept(self) -> _RowsAhead | None:
        found = _KEPT.get()
        return found if found is not None and found.database is self else None


def combined(queries: Sequence[Query]) -> Query:
    """One statement for several queries: a row with an array of records for each of them."""
    arrays = ", ".join(f"ARRAY(SELECT q FROM ({sql}) AS q)" for sql, _ in queries)  # noqa: S608 - constants
    return f"SELECT {arrays}", tuple(value for _, parameters in queries for value in parameters)


def chained(work: Sequence[Query]) -> Query:
    """One statement for several writes that do not depend on each other."""
    *first, (last, _) = work
    parts = ", ".join(f"step{number} AS ({sql})" for number, (sql, _) in enumerate(first))
    sql = f"WITH {parts} {last}" if parts else last
    return sql, tuple(value for _, parameters in work for value in parameters)
