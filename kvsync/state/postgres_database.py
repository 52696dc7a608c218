"""PostgreSQL under the state: connecting, transactions, and the upgrade of the schema.

One connection, opened again when it breaks; claims and their leases have a second one. Nothing depends on the session, so that
PgBouncer in transaction mode works: no statement is prepared, and settings last for one transaction. Every wait ends: the
server ends a statement after `STATEMENT_SECONDS`, and a server that does not answer is cut off a little later. While the
database cannot be reached, calls fail at once instead of each waiting for it.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, cast

import psycopg

from kvsync.errors import StateDirError, StateNewer
from kvsync.state.claim_statements import END_ALL, QUIET_SECONDS, SET_TIMELINE
from kvsync.state.database import Query, Statements
from kvsync.state.keys import KEY_BYTES
from kvsync.state.postgres_address import PostgresAddress
from kvsync.state.postgres_faults import DatabaseUnreachable, driver_errors, no_response
from kvsync.state.postgres_schema import BASELINE, SCHEMA_LOCK, STEPS, VERSION
from kvsync.state.postgres_statements import PostgresStatements, version_of
from kvsync.state.read_ahead import ReadAhead, chained, combined
from kvsync.state.tables import RowStatement, StateTable
from kvsync.state.watchdog import Watchdog
from kvsync.util.background import start_thread

STATEMENT_SECONDS: Final = 5
GRACE_SECONDS: Final = 2.0
"""Beyond `STATEMENT_SECONDS`, for a server that is reached but does not answer."""

REST_SECONDS: Final = 1.0
REST_SHARE: Final = 3.0
"""After a call that found no answer, or waited for too long, calls fail at once for `REST_SECONDS`, or for `REST_SHARE` times
as long as it waited: whoever makes many of them, one after the other, is not held up by each. A daemon calls from its event
loop, which so has most of the time for its page and health checks."""

_OLDEST_SERVER: Final = 130000

_SETTINGS: Final = (
    f"BEGIN; SELECT set_config('statement_timeout', '{STATEMENT_SECONDS}s', true),"
    f" set_config('lock_timeout', '{STATEMENT_SECONDS}s', true),"
    f" set_config('idle_in_transaction_session_timeout', '{4 * STATEMENT_SECONDS}s', true)"
)
_SIZE: Final = "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE oid = 'changes'::regclass"


class PostgresDatabase:
    """A PostgreSQL database that holds the state. Safe to use from several threads, one at a time. `begun` is called at the
    start of every transaction, with its statements: it may refuse by raising."""

    def __init__(
        self,
        address: PostgresAddress,
        *,
        read_only: bool,
        monotonic: Callable[[], float] = time.monotonic,
        rest_share: float = REST_SHARE,
    ) -> None:
        self.address, self._rest_share = address, rest_share
        self.begun: Callable[[Statements], None] = lambda _statements: None
        self._read_only, self._monotonic = read_only, monotonic
        self._connection: psycopg.Connection[Any] | None = None
        self._lock = threading.RLock()
        self._watchdog = Watchdog()
        self._ahead = ReadAhead()
        self._depth = 0
        self.delay = 0.0
        self._rests_until = float("-inf")
        self._failure: StateDirError | None = None
        self._stays_connected = self._is_reconnecting = False
        self._closed = threading.Event()

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        """All rows. Raises StateDirError."""
        if (known := self._ahead.take(sql, parameters)) is not None:
            return known
        with self._reading() as statements:
            return statements.execute(sql, parameters).fetchall()

    def one(self, sql: str, parameters: Sequence[object] = ()) -> Any:
        """The first row, or None. Raises StateDirError."""
        if (known := self._ahead.take(sql, parameters)) is not None:
            return known[0] if known else None
        with self._reading() as statements:
            return statements.execute(sql, parameters).fetchone()

    def each(self, statement: RowStatement, keys: Sequence[Sequence[object]]) -> list[Any]:
        """The row with each of these keys, or None. Raises StateDirError."""
        with self._reading() as statements:
            return statements.each(statement, keys)

    def read_ahead(self, queries: Sequence[Query], is_valid: Callable[[], bool]) -> None:
        """Read the rows of these queries in one statement, for the running task. Raises StateDirError."""
        with self._reading() as statements:
            rows = statements.records(*combined(queries))
        self._ahead.keep(zip(queries, rows, strict=True), is_valid)

    def write_rows(self, statements: Statements, statement: RowStatement, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement for these rows, many at once, inside a transaction. Raises StateDirError."""
        cast(PostgresStatements, statements).write_rows(statement, rows)

    def execute_all(self, statements: Statements, work: Sequence[Query]) -> None:
        """Run statements that write in one, inside a transaction. Raises StateDirError."""
        statements.execute(*chained(work))

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[Statements]:
        """All or nothing of what is done inside. Raises StateDirError."""
        self._ahead.drop()
        with self._lock, self._driver_errors():
            if self._read_only:
                raise StateDirError(self.address.name, "this command only reads the state")
            if self._depth:  # as the part of a larger one
                yield PostgresStatements(self._open())
                return
            with self._begun() as statements:
                self.begun(statements)
                yield statements

    def alone(self, statements: Statements, table: StateTable) -> None:
        """Exclude the other replicas that ask this for the table, until the transaction ends. Raises StateDirError."""
        statements.execute("SELECT pg_advisory_xact_lock(hashtext(?))", (table.name,))

    def inserted(
        self, statements: Statements, table: StateTable, columns: Sequence[str], row: Sequence[object]
    ) -> int | None:
        """Add a row to a numbered table, inside a transaction; returns its number, None if its name is taken. Raises
        StateDirError."""
        sql = f"{table.insert(columns)} ON CONFLICT DO NOTHING RETURNING {table.key[0]}"
        found = statements.execute(sql, row).fetchone()
        return None if found is None else int(found[0])

    def pages(self, table: StateTable, rows: int) -> Iterator[list[Any]]:
        """All of a table, so many rows at a time. Raises StateDirError."""
        with self._lock, self._driver_errors():
            connection = self._open()
            with self._begun(), connection.cursor(name="kvsync_pages") as cursor:
                cursor.execute(table.select())
                while page := cursor.fetchmany(rows):
                    self._watchdog.feed()
                    yield page

    def number_after(self, statements: Statements, table: StateTable) -> None:
        """Number new rows of a table after those that were copied into it with their numbers. Raises StateDirError."""
        if table.numbered:
            column = table.key[0]
            last = f"(SELECT coalesce(max({column}), 0) + 1 FROM {table.name})"  # noqa: S608 - constants
            statements.execute(f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column}'), {last}, false)")

    def size(self) -> int:
        """The bytes that the journal takes, about. Raises StateDirError."""
        return int(self.one(_SIZE)[0] or 0)

    def another_connection(self) -> PostgresDatabase:
        """The same database over a second connection. It is used in threads, and never rests for long."""
        return PostgresDatabase(self.address, read_only=self._read_only, monotonic=self._monotonic, rest_share=0.0)

    def stay_connected(self) -> None:
        """From now on, reconnect in a thread after the connection was lost. Until that succeeds, calls fail at once: the event
        loop of a daemon, which makes them, waits once in an outage at most."""
        self._stays_connected = True

    def check(self) -> None:
        """Does nothing: a database that was removed does not answer."""

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._closed.set()
        with self._lock, suppress(psycopg.Error):
            self._watchdog.close()
            if self._connection is not None:
                self._connection.close()

    @contextmanager
    def _reading(self) -> Iterator[PostgresStatements]:
        """Each statement on its own, or as part of the transaction that is open."""
        with self._lock, self._driver_errors():
            connection = self._open()
            if self._depth:
                yield PostgresStatements(connection, self._watchdog)
            else:
                with self._watchdog.watching(connection, STATEMENT_SECONDS + GRACE_SECONDS):
                    yield PostgresStatements(connection, self._watchdog)

    @contextmanager
    def _begun(self) -> Iterator[PostgresStatements]:
        """A transaction of its own: short settings apply to it alone, whatever pool lies in between."""
        connection = self._open()
        with self._watchdog.watching(connection, STATEMENT_SECONDS + GRACE_SECONDS):
            began = self._monotonic()
            connection.execute(_SETTINGS)
            self.delay = self._monotonic() - began
            self._depth += 1
            try:
                yield PostgresStatements(connection, self._watchdog)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(psycopg.Error):  # the first error says what is wrong
                    connection.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1

    def _open(self) -> psycopg.Connection[Any]:
        if self._failure is not None and (self._is_reconnecting or self._monotonic() < self._rests_until):
            raise StateDirError(self.address.name, self._failure.reason)
        if self._connection is None or self._is_lost(self._connection):
            self._connection = self._connect()
        self._failure = None
        return self._connection

    def _connect(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(self.address.dsn, autocommit=True, prepare_threshold=None)
        try:
            began = self._monotonic()
            self._check_server(connection)
            self.delay = (self._monotonic() - began) / 2  # of two statements
        except BaseException:
            connection.close()
            raise
        return connection

    @staticmethod
    def _is_lost(connection: psycopg.Connection[Any]) -> bool:
        return connection.broken or connection.closed

    def _reconnect(self) -> None:
        """Try until the server answers. What is wrong otherwise, the next call finds out."""
        found: psycopg.Connection[Any] | None = None
        while found is None and not self._closed.wait(REST_SECONDS):
            try:
                with driver_errors(self.address):
                    found = self._connect()
            except DatabaseUnreachable as failure:
                self._failure = failure
            except StateDirError:
                break
        with self._lock:
            self._connection, self._is_reconnecting = found, False
            if found is not None and self._closed.is_set():
                found.close()

    def _check_server(self, connection: psycopg.Connection[Any]) -> None:
        if connection.info.server_version < _OLDEST_SERVER:
            version = connection.info.server_version // 10000
            raise StateDirError(self.address.name, f"PostgreSQL {version} is too old; kvsync needs version 13 or later")
        with self._watchdog.watching(connection, STATEMENT_SECONDS + GRACE_SECONDS):
            found = version_of(PostgresStatements(connection))
        if found is None:
            raise StateDirError(self.address.name, "the database holds no state yet; run `kvsync state init`")
        if found < VERSION:
            raise StateDirError(
                self.address.name,
                f"the state has schema {found}, this kvsync needs {VERSION}; run `kvsync state upgrade` and replace all"
                " replicas, or use the version of kvsync that they run",
            )
        if found > VERSION:
            raise StateNewer(self.address.name, found, VERSION)

    @contextmanager
    def _driver_errors(self) -> Iterator[None]:
        """Turn errors of the driver into StateDirError; one that says the database is out of reach is remembered."""
        began = self._monotonic()
        try:
            with driver_errors(self.address):
                yield
        except DatabaseUnreachable as error:
            failure = no_response(self.address, STATEMENT_SECONDS + GRACE_SECONDS) if self._watchdog.has_cut else error
            now = self._monotonic()
            self._rests_until, self._failure = now + max(REST_SECONDS, self._rest_share * (now - began)), failure
            is_lost = self._connection is None or self._is_lost(self._connection)
            if self._stays_connected and is_lost and not self._is_reconnecting:
                self._is_reconnecting = True
                start_thread(self._reconnect)
            raise failure from None


def upgrade(address: PostgresAddress, *, create: bool) -> int | None:
    """Bring the schema up to date; with `create` where there is none, too. Returns the version that was found. Safe to run on
    several machines at once. Raises StateDirError."""
    with driver_errors(address), psycopg.connect(address.dsn, prepare_threshold=None) as connection:
        statements = PostgresStatements(connection)
        statements.execute("SELECT pg_advisory_xact_lock(?)", (SCHEMA_LOCK,))
        found = version_of(statements)
        if found is None and not create:
            raise StateDirError(address.name, "the database holds no state yet; run `kvsync state init`")
        if found is not None and found > VERSION:
            raise StateNewer(address.name, found, VERSION)
        for statement in BASELINE if found is None else [one for step in STEPS[found - 1 :] for one in step]:
            statements.execute(statement)
        for statement in END_ALL if found is not None and found < VERSION else ():
            statements.execute(statement, (QUIET_SECONDS,) if "?" in statement else ())
        if found is None:
            statements.execute("INSERT INTO kvsync_state VALUES (?, ?)", (VERSION, secrets.token_bytes(KEY_BYTES)))
            statements.execute(SET_TIMELINE)
        statements.execute("UPDATE kvsync_state SET version = ?", (VERSION,))
    return found
