"""Requests to undo runs: what is still to be undone in which target, and what became of it.

A request is recorded before its first write and closed target by target. So the daemon can carry it out for a command that does
not hold the lock, and whoever writes next finishes one that was cut off.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import field
from typing import Any

from kvsync.model.canonical import sorted_json
from kvsync.model.entry import Target
from kvsync.state.context import Context
from kvsync.state.database import Query
from kvsync.state.rows import target_row
from kvsync.state.tables import UNDO_REQUESTS
from kvsync.util.values import dataclass

KEEP_SECONDS = 7 * 86400.0
"""How long a finished request is kept, so that whoever waits for it can read what became of it."""

_INSERT = UNDO_REQUESTS.insert_rows(("request", "store", "namespace", "choice", "runs", "requested_at"))
_COLUMNS = "request, store, namespace, choice, runs, requested_at, run, report"
_OPEN = f"SELECT {_COLUMNS} FROM undo_requests WHERE report IS NULL"  # noqa: S608 - constants
_ORDER = "ORDER BY requested_at, request, store, namespace"
_OPEN_IN = f"{_OPEN} AND store = ? AND namespace = ? {_ORDER}"
_CLOSE = "UPDATE undo_requests SET run = ?, report = ? WHERE request = ? AND store = ? AND namespace = ?"
_WITHDRAW = "DELETE FROM undo_requests WHERE request = ? AND report IS NULL"


@dataclass(frozen=True, slots=True)
class UndoRequest:
    """What one request undoes in one target: these runs, newest first. `choice` is what a person chose, in words; `report` what
    became of it, as plain data, None until it is done; `run` is the journal's id of the undo."""

    request: str
    target: Target
    choice: str
    runs: tuple[str, ...]
    requested_at: float
    run: str | None = None
    report: dict[str, Any] | None = field(default=None, repr=False)


class UndoRequests:
    """The requests of a state directory."""

    def __init__(self, context: Context) -> None:
        self._context, self._database = context, context.database

    def add(self, request: str, choice: str, runs: Sequence[str], targets: Collection[Target]) -> None:
        """Record a request, durably. Raises StateDirError."""
        now, text = self._context.clock.now(), sorted_json(list(runs))
        rows = [(request, *target_row(target), choice, text, now) for target in sorted(targets)]
        with self._database.transaction(durable=True) as connection:
            over = "DELETE FROM undo_requests WHERE report IS NOT NULL AND requested_at < ?"
            connection.execute(over, (now - KEEP_SECONDS,))
            self._database.write_rows(connection, _INSERT, rows)

    def open(self, target: Target | None = None) -> list[UndoRequest]:
        """What is still to be done, in one target or in all, oldest first. Raises StateDirError."""
        if target is None:
            return [_request(row) for row in self._database.query(f"{_OPEN} {_ORDER}")]
        return [_request(row) for row in self._database.query(*self.query_of(target))]

    def query_of(self, target: Target) -> Query:
        """The query for what is still to be done in a target."""
        return _OPEN_IN, target_row(target)

    def of(self, request: str) -> list[UndoRequest]:
        """All targets of a request. Raises StateDirError."""
        sql = f"SELECT {_COLUMNS} FROM undo_requests WHERE request = ? {_ORDER}"  # noqa: S608 - constants
        return [_request(row) for row in self._database.query(sql, (request,))]

    def close(self, request: UndoRequest, run: str | None, report: dict[str, Any]) -> None:
        """Record what became of a request in one target. Raises StateDirError."""
        text = self._context.redact(sorted_json(report))
        row = (run, text, request.request, *target_row(request.target))
        with self._database.transaction(durable=True) as connection:
            connection.execute(_CLOSE, row)

    def withdraw(self, request: str) -> int:
        """Take back what is not done of a request; returns in how many targets. Raises StateDirError."""
        with self._database.transaction() as connection:
            return connection.execute(_WITHDRAW, (request,)).rowcount


def _request(row: Sequence[Any]) -> UndoRequest:
    request, store, namespace, choice, runs, requested_at, run, report = row
    done = json.loads(report) if report is not None else None
    return UndoRequest(request, Target(store, namespace), choice, tuple(json.loads(runs)), requested_at, run, done)
