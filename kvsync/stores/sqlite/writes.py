"""Writes of the SQLite store: one transaction per call, in bulk, and entry by entry where a precondition failed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from kvsync.model.canonical import fingerprint
from kvsync.model.entry import Content
from kvsync.stores.base import Precondition, Write, WriteResult, WriteStatus
from kvsync.stores.sqlite.rows import BY_CELL, Cell, Row, from_content, from_mark
from kvsync.stores.sqlite.schema import SET_REVISION
from kvsync.util.values import dataclass

_CREATE = """
INSERT INTO entries(content_type, tags, metadata, value, owner, mark_fingerprint, mark_ttl, flags, fingerprint,
    expires_at, modified_at, version, namespace, key, label)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_CHANGE = f"""
UPDATE entries SET content_type = ?, tags = ?, metadata = ?, value = ?, owner = ?, mark_fingerprint = ?, mark_ttl = ?,
    flags = ?, fingerprint = ?, expires_at = ?, modified_at = ?, version = ?
WHERE {BY_CELL} AND version = ?
"""
_TOUCH = f"UPDATE entries SET expires_at = ?, modified_at = ?, version = ? WHERE {BY_CELL} AND version = ?"
_DELETE = f"DELETE FROM entries WHERE {BY_CELL} AND version = ?"
_HAS_VERSION = f"SELECT 1 FROM entries WHERE {BY_CELL} AND version = ?"
_SWEEP = "DELETE FROM entries WHERE expires_at <= ?"

_DIGITS = 19
"""Digits of the smallest integers that are too large for SQLite."""

_EXISTS = WriteResult(WriteStatus.CONFLICT, error="the entry already exists")
_MOVED = WriteResult(WriteStatus.CONFLICT, error="the entry was changed or deleted since it was read")
_GONE = WriteResult(WriteStatus.DONE)


@dataclass(frozen=True, slots=True)
class _Statement:
    """One write as a statement with its parameters, and its result if it finds no row. `version` is the new version of the
    entry, None for a delete."""

    index: int
    sql: str
    cell: Cell
    row: Row
    failed: WriteResult
    version: int | None


def execute(
    connection: sqlite3.Connection, writes: Sequence[tuple[Cell, Write]], versions: range, now: float
) -> list[WriteResult]:
    """Make writes of one namespace inside a transaction, with a fresh version for each and one for the namespace."""
    connection.execute(_SWEEP, (now,))
    statements = [_statement(index, cell, write, versions[index], now) for index, (cell, write) in enumerate(writes)]
    results: dict[int, WriteResult] = {}
    for sql in (_CREATE, _CHANGE, _TOUCH, _DELETE):
        alike = [statement for statement in statements if statement.sql is sql]
        for statement, done in zip(alike, _run(connection, sql, alike), strict=True):
            results[statement.index] = _result(statement) if done else statement.failed
    connection.execute(SET_REVISION, (writes[0][0].namespace, versions[-1]))
    return [results[index] for index in range(len(writes))]


def _run(connection: sqlite3.Connection, sql: str, statements: Sequence[_Statement]) -> list[bool]:
    """Execute one statement for many rows; says for each whether it found its row as expected. A savepoint, to repeat them one
    by one where some did not, would keep a copy of every page in a temporary file."""
    if sql is _DELETE:  # a deleted row has no version that shows it afterwards
        return [connection.execute(sql, statement.row).rowcount == 1 for statement in statements]
    changed = connection.executemany(sql, [statement.row for statement in statements]).rowcount if statements else 0
    if changed == len(statements):
        return [True] * changed
    return [_has_version(connection, statement) for statement in statements]


def _has_version(connection: sqlite3.Connection, statement: _Statement) -> bool:
    """True if an entry has the version that this write gives it, and no other write."""
    row = (*statement.cell.lookup_parameters(), statement.version)
    return connection.execute(_HAS_VERSION, row).fetchone() is not None


def _statement(index: int, cell: Cell, write: Write, version: int, now: float) -> _Statement:
    if write.content is None:
        return _Statement(index, _DELETE, cell, (*cell.lookup_parameters(), _etag(write)), _MOVED, None)
    if write.precondition is Precondition.ABSENT:
        row = (*_columns(write, write.content), now, version, *cell)
        return _Statement(index, _CREATE, cell, row, _EXISTS, version)
    if write.touch:
        row = (write.expires_at, now, version, *cell.lookup_parameters(), _etag(write))
        return _Statement(index, _TOUCH, cell, row, _MOVED, version)
    row = (*_columns(write, write.content), now, version, *cell.lookup_parameters(), _etag(write))
    return _Statement(index, _CHANGE, cell, row, _MOVED, version)


def _columns(write: Write, content: Content) -> Row:
    return *from_content(content), *from_mark(write.mark), fingerprint(content), write.expires_at


def _etag(write: Write) -> int:
    """The version that must exist; one that never does if the etag is not one of ours."""
    etag = write.etag or ""
    return int(etag) if etag.isdecimal() and len(etag) < _DIGITS else -1


def _result(statement: _Statement) -> WriteResult:
    return _GONE if statement.version is None else WriteResult(WriteStatus.DONE, etag=str(statement.version))
