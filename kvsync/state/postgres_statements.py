"""Statements in a PostgreSQL database, in the dialect of the state, and what errors of the driver mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import psycopg

from kvsync.errors import StateDirError
from kvsync.state.database import Statements
from kvsync.state.watchdog import Watchdog

if TYPE_CHECKING:
    from kvsync.state.postgres_database import PostgresAddress

_TOO_LONG: Final = 300
"""Characters of a message of the server that are shown."""

_PASSWORD: Final = re.compile(r"password=\S+")


class DatabaseUnreachable(StateDirError):
    """The database cannot be reached, or does not answer."""


@contextmanager
def driver_errors(address: PostgresAddress) -> Iterator[None]:
    """Context that turns errors of the driver into StateDirError."""
    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege) as error:
        raise StateDirError(address.name, _words(error)) from None
    except psycopg.ProgrammingError:
        raise  # a mistake in kvsync, not in the database
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise DatabaseUnreachable(address.name, _words(error)) from None
    except psycopg.Error as error:
        raise StateDirError(address.name, _words(error)) from None


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
    (version,) = statements.execute("SELECT version FROM kvsync_state").fetchone()
    return int(version)


def _translated(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


def _words(error: psycopg.Error) -> str:
    """What the server or the driver says, in one line."""
    text = " ".join(_PASSWORD.sub("password=***", str(error)).split()).removeprefix("connection failed: ")
    said = text[:_TOO_LONG] or type(error).__name__
    is_unreachable = isinstance(error, psycopg.OperationalError) and error.sqlstate is None
    return f"{said}; check that the database runs and can be reached from here" if is_unreachable else said
