"""Database under the state: the statements that all engines understand, and how they are sent.

Statements are written once, with `?` for parameters, in the SQL that SQLite and PostgreSQL share; `kvsync.state.tables` builds
those in which the two differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from kvsync.state.tables import RowStatement, StateTable

Query = tuple[str, tuple[object, ...]]
"""A statement and its parameters."""


class Result(Protocol):
    """Result of one statement."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""
        ...

    def fetchone(self) -> Any:
        """The next row, None after the last."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        ...


class Statements(Protocol):
    """An open transaction."""

    def execute(self, sql: str, parameters: Sequence[object] = ..., /) -> Result:
        """Run one statement."""
        ...


class Database(Protocol):
    """A connection with transactions; safe to use from several threads, one at a time. Every method raises StateDirError."""

    begun: Callable[[Statements], None]
    """Called at the start of every transaction; it refuses by raising."""

    @property
    def delay(self) -> float:
        """How long the last call waited for an answer over the network (seconds)."""
        ...

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        """All rows."""
        ...

    def one(self, sql: str, parameters: Sequence[object] = ()) -> Any:
        """The first row, or None."""
        ...

    def each(self, statement: RowStatement, keys: Sequence[Sequence[object]]) -> list[Any]:
        """The row with each of these keys, or None. Costs few round trips, however many there are."""
        ...

    def read_ahead(self, queries: Sequence[Query], is_valid: Callable[[], bool]) -> None:
        """Read the rows of these queries at once, where that costs less than to read them one after the other. The running
        task is then given them, each once, until it writes or they are no longer `is_valid`."""
        ...

    def write_rows(self, statements: Statements, statement: RowStatement, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement for these rows, inside a transaction. Costs few round trips, however many there are."""
        ...

    def execute_all(self, statements: Statements, work: Sequence[Query]) -> None:
        """Run statements that write and do not depend on each other, inside a transaction."""
        ...

    def transaction(self, *, durable: bool = False) -> AbstractContextManager[Statements]:
        """All or nothing of what is done inside. `durable` also waits for the disk."""
        ...

    def alone(self, statements: Statements, table: StateTable) -> None:
        """Wait for every other transaction that asked this for the table, and let none do so until this one ends."""
        ...

    def inserted(
        self, statements: Statements, table: StateTable, columns: Sequence[str], row: Sequence[object]
    ) -> int | None:
        """Add a row to a numbered table, inside a transaction; returns its number. None when a row of the same name is there
        already, or another process commits one meanwhile."""
        ...

    def pages(self, table: StateTable, rows: int) -> Iterator[list[Any]]:
        """All of a table, so many rows at a time."""
        ...

    def number_after(self, statements: Statements, table: StateTable) -> None:
        """Number new rows of a table after those that were copied into it with their numbers."""
        ...

    def size(self) -> int:
        """The bytes that are in use, about."""
        ...

    def another_connection(self) -> Database:
        """The same database over a second connection, so that neither waits for the statements of the other; itself where no
        other process writes."""
        ...

    def stay_connected(self) -> None:
        """Let no call wait for a database that could not be reached: until it can, calls fail at once."""
        ...

    def check(self) -> None:
        """Raise StateDirLost when what is written would no longer be found: the database was removed or replaced."""
        ...

    def close(self) -> None:
        """Release the connection. Idempotent."""
        ...
