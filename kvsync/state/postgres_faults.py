"""What errors of the PostgreSQL driver mean, and what to do about them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import psycopg

from kvsync.errors import StateDirError

if TYPE_CHECKING:
    from kvsync.state.postgres_address import PostgresAddress

_TOO_LONG: Final = 300
"""Characters of a message of the server that are shown."""

_PASSWORD: Final = re.compile(r"password=\S+")

_UNREACHABLE: Final = "check that the database runs and can be reached from here"
_RIGHTS: Final = "grant the user of the connection string the rights of an owner of the database"
_USER: Final = "check the user and the password in the connection string, and the server's pg_hba.conf"
_STANDBY: Final = "connect to the primary: a standby accepts no writes"
_OTHER: Final = "use an empty database for kvsync"
_LOCKS: Final = "look for long transactions and locks in the database"
_SPACE: Final = "free some space on the database server"
_SLOTS: Final = "raise max_connections of the server, or connect through PgBouncer"

_REMEDIES: Final[dict[type[psycopg.Error], str]] = {
    psycopg.errors.InsufficientPrivilege: _RIGHTS,
    psycopg.errors.InvalidSchemaName: "create the schema `public`, or set search_path for the user",
    psycopg.errors.DuplicateTable: _OTHER,
    psycopg.errors.DuplicateObject: _OTHER,
    psycopg.errors.UndefinedTable: "restore the database, or use an empty one and run `kvsync state init`",
    psycopg.errors.ReadOnlySqlTransaction: _STANDBY,
    psycopg.errors.DiskFull: _SPACE,
    psycopg.errors.QueryCanceled: _LOCKS,
    psycopg.errors.LockNotAvailable: _LOCKS,
}
"""By the error that the server reports for a statement."""

_REFUSALS: Final = (
    (
        re.compile(r'database "[^"]*" does not exist'),
        "create the database, or correct its name in the connection string",
    ),
    (re.compile(r'role "[^"]*" does not exist|authentication failed|no password supplied|pg_hba\.conf|CONNECT'), _USER),
    (re.compile(r"starting up|shutting down|recovery mode"), "wait until the server has started"),
    (re.compile(r"too many clients|too many connections|connection slots"), _SLOTS),
    (
        re.compile(r"does not support SSL|certificate|SSL error"),
        "check sslmode and sslrootcert in the connection string",
    ),
    (re.compile(r"session is read-only|hot standby mode"), _STANDBY),
)
"""By the words with which a server refuses a connection: there is no code with them."""


class DatabaseUnreachable(StateDirError):
    """The database cannot be reached, or does not answer."""


@contextmanager
def driver_errors(address: PostgresAddress) -> Iterator[None]:
    """Context that turns errors of the driver into StateDirError."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise DatabaseUnreachable(address.name, _reason(error)) from None
    except psycopg.ProgrammingError as error:
        if type(error) not in _REMEDIES:
            raise  # a mistake in kvsync, not in the database
        raise StateDirError(address.name, _reason(error)) from None
    except psycopg.Error as error:
        raise StateDirError(address.name, _reason(error)) from None


def no_response(address: PostgresAddress, seconds: float) -> DatabaseUnreachable:
    """The error for a server that was cut off after so many seconds: the driver would say that the server closed the
    connection."""
    return DatabaseUnreachable(
        address.name, f"no response within {seconds:.0f} s; check the load of the server, or {_LOCKS}"
    )


def _reason(error: psycopg.Error) -> str:
    """What the server or the driver says, in one line, and what to do."""
    text = error.diag.message_primary or str(error)
    text = " ".join(_PASSWORD.sub("password=***", text).split()).removeprefix("connection failed: ")
    remedy = _remedy(error, text)
    said = text[:_TOO_LONG] or type(error).__name__
    return f"{said}; {remedy}" if remedy else said


def _remedy(error: psycopg.Error, text: str) -> str | None:
    if error.sqlstate is not None or not isinstance(error, psycopg.OperationalError):
        return _REMEDIES.get(type(error))
    return next((remedy for words, remedy in _REFUSALS if words.search(text)), _UNREACHABLE)
