"""Listens for the notifications of other processes that share a state in PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import psycopg
from psycopg import sql

from kvsync.state.postgres_address import PostgresAddress
from kvsync.state.postgres_schema import CHANNEL
from kvsync.util.background import start_thread

_LOOK_SECONDS: Final = 1.0
"""How long one wait lasts: closing takes no longer."""

_REST_SECONDS: Final = 10.0
"""Between two attempts to connect. Replicas also poll, so that nothing is lost meanwhile."""


class PostgresListener:
    """Calls back, in a thread of its own, whenever a process wakes the replicas. Where notifications do not arrive (behind
    PgBouncer in transaction mode, while the server is down) it does nothing."""

    def __init__(self, address: PostgresAddress, woken: Callable[[], None]) -> None:
        self._address, self._woken = address, woken
        self._closed = threading.Event()
        start_thread(self._run)

    def close(self) -> None:
        """Stop listening. Idempotent."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            with suppress(psycopg.Error), psycopg.connect(self._address.dsn, autocommit=True) as connection:
                connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
                self._listen(connection)
            self._closed.wait(_REST_SECONDS)

    def _listen(self, connection: psycopg.Connection[Any]) -> None:
        while not self._closed.is_set():
            if any(True for _ in connection.notifies(timeout=_LOOK_SECONDS, stop_after=1)):
                self._woken()
