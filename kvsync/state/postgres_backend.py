"""Parts of the state in PostgreSQL outside its tables: one key for all replicas, and the notification that wakes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final

from kvsync.state.postgres_database import PostgresDatabase
from kvsync.state.postgres_schema import CHANNEL
from kvsync.state.steady_time import SteadyTime
from kvsync.util.clock import Clock

_WRITER: Final = """
SELECT pid FROM daemon WHERE EXISTS (SELECT 1 FROM replicas WHERE expires_at > clock_timestamp())
ORDER BY updated_at DESC LIMIT 1
"""


class PostgresBackend:
    """A database that many processes share. It excludes no process as a whole: each target is claimed separately."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    @property
    def name(self) -> str:
        """Host, port and database."""
        return self._database.address.name

    @property
    def is_shared(self) -> bool:
        """True."""
        return True

    def key(self) -> bytes:
        """The key that `kvsync state init` made, the same for all. Raises StateDirError."""
        (key,) = self._database.one("SELECT sealing_key FROM kvsync_state")
        return bytes(key)

    def take_key(self, key: bytes) -> None:
        """Use the key of another state. Raises StateDirError."""
        with self._database.transaction() as statements:
            statements.execute("UPDATE kvsync_state SET sealing_key = ?", (key,))

    def restore_key(self, key: bytes) -> bool:
        """Does nothing: the key is a column of the table that names the schema."""
        return False

    @contextmanager
    def hold(self, command: str) -> Iterator[None]:
        """Exclude nobody."""
        yield

    def writer(self) -> int | None:
        """The process of the replica that reported last; None when no replica lives. Raises StateDirError."""
        row = self._database.one(_WRITER)
        return None if row is None else int(row[0])

    def wake(self) -> None:
        """Notify all replicas. Raises StateDirError."""
        with self._database.transaction() as statements:
            statements.execute("UPDATE kvsync_state SET wakes = wakes + 1")
            statements.execute("SELECT pg_notify(?, '')", (CHANNEL,))

    @contextmanager
    def listening(self, woken: Callable[[], None]) -> Iterator[None]:
        """Inside, call `woken` from a thread at every notification."""
        from kvsync.state.postgres_listener import PostgresListener  # a daemon's alone

        with closing(PostgresListener(self._database.address, woken)):
            yield


class DatabaseTime(SteadyTime):
    """The timeline of a shared state: the database's clock, which is the same for all replicas."""

    def __init__(self, database: PostgresDatabase, clock: Clock) -> None:
        self.clock = clock
        now = clock.now()
        if type(clock) is Clock:  # one that the caller gave is not corrected
            (now,) = database.one("SELECT extract(epoch FROM clock_timestamp())::double precision")
        self._offset = float(now) - clock.monotonic()
