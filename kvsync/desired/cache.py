"""Cache of compiled state files between runs, so that unchanged files are not parsed again.

A record decides what a state file means, so each is sealed with the secret key of the state directory: a record that another
program wrote, or copied from another file, is ignored. A record has a head that every plan reads, and a body that `packing`
decodes if something differs. They hold nothing secret. If the file cannot be read or written, loading goes on without it or
with a new one.
"""

from __future__ import annotations

import hmac
import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from hashlib import blake2b
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from kvsync.desired.model import CompiledFile, DocumentRows
from kvsync.model.entry import Target
from kvsync.util.sqlite import closed_on_error, connect, transaction

if TYPE_CHECKING:
    from kvsync.desired.rows import Rows

_TABLES: Final = (
    "CREATE TABLE checked (target TEXT PRIMARY KEY, digest BLOB, seal BLOB) WITHOUT ROWID",
    "CREATE TABLE units (slot TEXT PRIMARY KEY, key BLOB, head BLOB, body BLOB, seal BLOB) WITHOUT ROWID",
)
_FAILURES: Final = (sqlite3.Error, OSError, ValueError, TypeError)


class Cache:
    """Compiled units by slot (path of the file and its overlay), valid for one key, and the targets that were checked for
    conflicts.

    The file is at `path`, its records are sealed with `secret`; without both, nothing is kept. `close` waits for a
    background thread that is still loading, because closing a connection in use ends the process.
    """

    def __init__(self, path: Path | None, secret: bytes | None) -> None:
        self._path, self._lock = path, RLock()
        self._secret = blake2b(b"cache", key=secret).digest() if secret is not None else b""
        self._ahead: dict[str, Sequence[Any]] | None = None
        self._database = self._connect(path) if path is not None and secret is not None else None

    def unit(self, slot: str, key: bytes) -> CompiledFile | None:
        """The unit that was kept for `slot`, None unless it was compiled from just what `key` represents."""
        row = self._record(slot)
        if row is None or row[0] != key:
            return None
        _, head, body, seal = row
        try:
            is_ours = hmac.compare_digest(self._seal("unit", slot, key, head, body), seal)
            return _unpacked(head, body) if is_ours else None
        except _FAILURES:
            return None

    @contextmanager
    def read_ahead(self) -> Iterator[None]:
        """Context in which each unit is asked for once at most: all are read by one statement, in a quarter of the time."""
        rows = self._all("SELECT slot, key, head, body, seal FROM units")
        self._ahead = {slot: record for slot, *record in rows}
        try:
            yield
        finally:
            self._ahead = None

    def _record(self, slot: str) -> Sequence[Any] | None:
        """Key, head, body and seal of a unit."""
        if self._ahead is not None:
            return self._ahead.pop(slot, None)
        return next(iter(self._all("SELECT key, head, body, seal FROM units WHERE slot = ?", slot)), None)

    def checked(self, target: Target) -> bytes | None:
        """The digest with which a target was last found free of clashes."""
        return self._checked.get(str(target))

    @cached_property
    def _checked(self) -> dict[str, bytes]:
        """The digests as they were when they were first asked for, all at once: there may be thousands. Those without a
        valid seal are left out."""
        rows = self._all("SELECT target, digest, seal FROM checked")
        try:
            return {target: digest for target, digest, seal in rows if self._is_sealed(target, digest, seal)}
        except _FAILURES:
            return {}

    def _is_sealed(self, target: str, digest: bytes, seal: bytes) -> bool:
        return hmac.compare_digest(self._seal("checked", target, digest), seal)

    def keep(
        self,
        units: Mapping[str, tuple[bytes, CompiledFile]],
        checked: Mapping[Target, bytes],
        paths: Collection[str] | None = None,
    ) -> None:
        """Keep these, and forget what came from other files than `paths`; None forgets nothing. Units that are private or have
        problems are left out."""
        kept = {slot: (key, *_packed(unit)) for slot, (key, unit) in units.items() if _may_be_kept(unit)}
        if not (kept or checked):
            return
        rows = [(slot, *record, self._seal("unit", slot, *record)) for slot, record in kept.items()]
        marks = [(str(one), digest, self._seal("checked", str(one), digest)) for one, digest in checked.items()]
        with self._lock:
            if self._database is None:
                return
            try:
                with transaction(self._database) as database:
                    database.executemany("INSERT OR REPLACE INTO units VALUES (?, ?, ?, ?, ?)", rows)
                    database.executemany("INSERT OR REPLACE INTO checked VALUES (?, ?, ?)", marks)
                    if paths is not None:
                        _forget_others(database, paths)
            except sqlite3.Error as error:
                self._fail(error)

    def close(self) -> None:
        """Release the file, once nothing uses it. Idempotent."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def _seal(self, kind: str, name: str, *parts: bytes) -> bytes:
        """What proves that this process, or one with the same key, wrote a record under this name."""
        seal = blake2b(
            f"{kind}\0{len(name)}\0{name}".encode(errors="surrogateescape"), key=self._secret, digest_size=32
        )
        for part in parts:
            seal.update(b"%d:" % len(part))
            seal.update(part)
        return seal.digest()

    def _all(self, query: str, *values: str) -> list[Any]:
        """All rows; none where the file cannot be used."""
        with self._lock:
            if self._database is None:
                return []
            try:
                return self._database.execute(query, values).fetchall()
            except sqlite3.Error as error:
                self._fail(error)
                return []

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
            except (sqlite3.OperationalError, OSError):
                return None  # no such folder, no permission, busy
            except sqlite3.DatabaseError:
                self._drop()
        return None


def _opened(path: Path) -> sqlite3.Connection:
    # Not waiting for the disk: a damaged cache costs one slow run.
    database = connect(path, timeout=0.2, create=True, pragmas={"synchronous": "OFF"})
    with closed_on_error(database):
        found = [sql for (sql,) in database.execute("SELECT sql FROM sqlite_master ORDER BY name")]
        if not found:
            database.executescript(f"BEGIN IMMEDIATE; {'; '.join(_TABLES)}; COMMIT")
        elif found != list(_TABLES):
            raise sqlite3.DatabaseError("tables, views or triggers that are not ours")
    return database


def _forget_others(database: sqlite3.Connection, paths: Collection[str]) -> None:
    slots = [slot for (slot,) in database.execute("SELECT slot FROM units")]
    gone = [(slot,) for slot in slots if slot.partition("\0")[0] not in paths]
    database.executemany("DELETE FROM units WHERE slot = ?", gone)


def _may_be_kept(unit: CompiledFile) -> bool:
    return not unit.private and not unit.problems and unit.names_known


def _packed(unit: CompiledFile) -> tuple[bytes, bytes]:
    """The head and the body of a record. The head lists the chunks as JSON: each with its target, the number of its rows, its
    digest, and the size of its rows in the body. What only few files have is at the end of the body."""
    from kvsync.desired import packing

    rows = [packing.packed_rows(chunk.rows) for chunk in unit.chunks]
    heads = [
        (*_names(chunk.target), chunk.count, chunk.digest.hex(), chunk.is_source_only, len(packed))
        for chunk, packed in zip(unit.chunks, rows, strict=True)
    ]
    return json.dumps(heads).encode(), b"".join((*rows, packing.packed_extras(unit)))


def _names(target: Target) -> tuple[str, str]:
    return target.store, target.namespace


def _unpacked(head: bytes, body: bytes) -> CompiledFile:
    chunks, start = [], 0
    for store, namespace, count, digest, is_source_only, size in json.loads(head):
        load = partial(_rows, body[start : start + size])
        target = Target(store, namespace)
        chunks.append(DocumentRows(target, load, count, bytes.fromhex(digest), is_source_only=is_source_only))
        start += size
    targets = tuple(dict.fromkeys(chunk.target for chunk in chunks))
    unit = CompiledFile(tuple(chunks), targets, True, (), ())
    return _with_extras(unit, body[start:]) if start < len(body) else unit


def _rows(packed: bytes) -> Rows:
    from kvsync.desired.packing import unpacked_rows

    return unpacked_rows(packed)


def _with_extras(unit: CompiledFile, packed: bytes) -> CompiledFile:
    from kvsync.desired.packing import with_extras

    return with_extras(unit, packed)
