"""Compiled state files, kept between runs: what has not changed is not parsed again.

Only a cache: whatever is wrong with its file, loading goes on without, or with a new one. Nothing secret comes near it.
"""

from __future__ import annotations

import marshal
import sqlite3
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import astuple
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from kvsync.core.model import Move, Target
from kvsync.core.policy import Adopt, DriftAction, DriftPolicy, Guard, Policy, Prune
from kvsync.errors import Origin
from kvsync.sources.model import Chunk, Reference, Unit
from kvsync.sources.rows import Rows, Shape

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS units (slot TEXT PRIMARY KEY, key BLOB, head BLOB, body BLOB, sum INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checked (target TEXT PRIMARY KEY, digest BLOB) WITHOUT ROWID;
"""
_FAILURES: Final = (sqlite3.Error, OSError, ValueError, EOFError, TypeError, IndexError)


class Cache:
    """Units by slot (path of the file and its overlay), valid for one key; and which targets were found free of clashes.

    `path` None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._database = self._connect(path) if path is not None else None

    def unit(self, slot: str, key: bytes) -> Unit | None:
        """The unit that was kept for `slot`, None unless it was compiled from just what `key` stands for."""
        row = self._ask("SELECT key, head, body, sum FROM units WHERE slot = ?", slot)
        if row is None or row[0] != key:
            return None
        _, head, body, checksum = row
        try:
            return _unpacked(head, body) if crc32(body, crc32(head)) == checksum else None
        except _FAILURES:
            return None

    def checked(self, target: Target) -> bytes | None:
        """The digest with which a target was last found free of clashes."""
        return self._checked.get(str(target))

    @cached_property
    def _checked(self) -> dict[str, bytes]:
        """The digests as they were when they were first asked for, all at once: there may be thousands."""
        try:
            return dict(self._database.execute("SELECT target, digest FROM checked")) if self._database else {}
        except sqlite3.Error as error:
            self._fail(error)
            return {}

    def keep(
        self, units: Mapping[str, tuple[bytes, Unit]], checked: Mapping[Target, bytes], paths: Collection[str]
    ) -> None:
        """Keep these, and forget what came from other files than `paths`. Units that are private or have problems are left
        out."""
        rows = [(slot, key, *_packed(unit)) for slot, (key, unit) in units.items() if _may_be_kept(unit)]
        if self._database is None or not (rows or checked):
            return
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO units VALUES (?, ?, ?, ?, ?)", rows)
                marks = [(str(target), digest) for target, digest in checked.items()]
                self._database.executemany("INSERT OR REPLACE INTO checked VALUES (?, ?)", marks)
                slots = [slot for (slot,) in self._database.execute("SELECT slot FROM units")]
                gone = [(slot,) for slot in slots if slot.partition("\0")[0] not in paths]
                self._database.executemany("DELETE FROM units WHERE slot = ?", gone)
        except sqlite3.Error as error:
            self._fail(error)

    def close(self) -> None:
        """Release the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _ask(self, query: str, *values: str) -> Any:
        if self._database is None:
            return None
        try:
            return self._database.execute(query, values).fetchone()
        except sqlite3.Error as error:
            self._fail(error)
            return None

    def _fail(self, error: sqlite3.Error) -> None:
        """Go on without; a damaged file is put away, so that the next run has a new one. A busy one is left alone."""
        self.close()
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            self._drop()

    def _drop(self) -> None:
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _connect(self, path: Path) -> sqlite3.Connection | None:
        for _ in range(2):
            try:
                return _opened(path)
            except sqlite3.OperationalError:
                return None  # no such folder, no permission, busy
            except sqlite3.DatabaseError:
                self._drop()
        return None


def _opened(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=0.2, check_same_thread=False)
    try:
        database.execute("PRAGMA synchronous = OFF")  # a damaged cache costs one slow run
        database.executescript(_SCHEMA)
    except sqlite3.Error:
        database.close()
        raise
    return database


def _may_be_kept(unit: Unit) -> bool:
    return not unit.private and not unit.problems and unit.names_known


def _packed(unit: Unit) -> tuple[bytes, bytes, int]:
    bodies = [_packed_rows(chunk.rows) for chunk in unit.chunks]
    chunks = [(*_packed_chunk(chunk), len(body)) for chunk, body in zip(unit.chunks, bodies, strict=True)]
    references = [(item.kind, item.path, item.digest, item.pattern) for item in unit.references]
    head, body = marshal.dumps((chunks, references)), b"".join(bodies)
    return head, body, crc32(body, crc32(head))


def _unpacked(head: bytes, body: bytes) -> Unit:
    packed, references = marshal.loads(head)  # noqa: S302  # our own bytes, under a checksum
    chunks, start = [], 0
    for *fields, size in packed:
        chunks.append(_unpacked_chunk(fields, body[start : start + size]))
        start += size
    targets = tuple(dict.fromkeys(chunk.target for chunk in chunks))
    return Unit(tuple(chunks), targets, True, (), tuple(Reference(*fields) for fields in references))


def _packed_chunk(chunk: Chunk) -> tuple[Any, ...]:
    return (
        chunk.target.store,
        chunk.target.namespace,
        chunk.count,
        chunk.digest,
        _packed_policy(chunk.policy) if chunk.policy is not None else None,
        _packed_origin(chunk.policy_origin),
        [(key, _packed_origin(origin)) for key, origin in chunk.absent.items()],
        [(move.source, move.destination, _packed_origin(move.origin)) for move in chunk.moved],
    )


def _unpacked_chunk(fields: list[Any], body: bytes) -> Chunk:
    store, namespace, count, digest, policy, policy_origin, absent, moved = fields
    return Chunk(
        Target(store, namespace),
        partial(_unpacked_rows, body),
        count,
        digest,
        _unpacked_policy(*policy) if policy is not None else None,
        Origin(*policy_origin) if policy_origin else None,
        {key: Origin(*origin) for key, origin in absent},
        tuple(Move(source, destination, Origin(*origin)) for source, destination, origin in moved),
    )


def _packed_rows(rows: Rows) -> bytes:
    table = [tuple(shape) for shape in rows.table]
    columns = (
        rows.keys,
        rows.labels,
        rows.values,
        rows.shapes,
        rows.lines,
        rows.columns,
        rows.prints,
        table,
        rows.remote,
    )
    return marshal.dumps(columns)


def _unpacked_rows(body: bytes) -> Rows:
    keys, labels, values, shapes, lines, columns, prints, table, remote = marshal.loads(body)  # noqa: S302  # as above
    return Rows(keys, labels, values, shapes, lines, columns, prints, [Shape(*fields) for fields in table], remote)


def _packed_origin(origin: Origin | None) -> tuple[Any, ...] | None:
    return (origin.file, origin.line, origin.column) if origin is not None else None


def _packed_policy(policy: Policy) -> tuple[Any, ...]:
    drift = policy.drift
    actions = (drift.drifted.value, drift.missing.value, drift.conflict.value)
    return policy.prune.value, policy.adopt.value, actions, astuple(policy.guard), policy.ignore


def _unpacked_policy(prune: str, adopt: str, actions: tuple[str, ...], guard: tuple[Any, ...], ignore: Any) -> Policy:
    drift = DriftPolicy(*(DriftAction(action) for action in actions))
    return Policy(Prune(prune), Adopt(adopt), drift, Guard(*guard), ignore)
