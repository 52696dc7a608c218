"""Data of the memory store, and how a write changes it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from kvsync.model.entry import Content, Mark
from kvsync.stores.base import Precondition, WriteResult, WriteStatus

_EXISTS = WriteResult(WriteStatus.CONFLICT, error="the entry already exists")
_MOVED = WriteResult(WriteStatus.CONFLICT, error="the entry was changed or deleted since it was read")
_LOCKED = WriteResult(WriteStatus.LOCKED, error="the entry is locked in the store")


class RemoteKey(NamedTuple):
    """Where an entry is kept: its remote key, and its label if that is not part of the key."""

    key: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """One stored entry. Moments are seconds since the Unix epoch."""

    content: Content
    version: int
    mark: Mark | None = None
    expires_at: float | None = None
    locked: bool = False


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """A stored ledger, and when it expires (seconds since the Unix epoch, None: never)."""

    text: bytes
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class ConditionalPut:
    """One write as it reaches the backend. `held` None deletes; without a precondition it is made in any case."""

    slot: RemoteKey
    held: StoredEntry | None
    precondition: Precondition | None
    etag: str | None


@dataclass(frozen=True, slots=True)
class Listed:
    """The result of a listing, and why it may be incomplete."""

    entries: Mapping[RemoteKey, StoredEntry]
    problems: tuple[str, ...] = ()
    ledger: StoredLedger | None = None


class MemoryBackend:
    """Namespaces of entries, kept in this process."""

    def __init__(self) -> None:
        self.id = secrets.token_hex(8)
        self.held: dict[str, dict[RemoteKey, StoredEntry]] = {}
        self.ledgers: dict[str, StoredLedger] = {}
        self._versions = 0

    def listing(self, namespace: str, now: float) -> Listed:
        """All entries that have not expired, and the ledger."""
        entries = self.held.get(namespace, {})
        ledger = MemoryBackend.ledger(self, namespace, now)
        return Listed({slot: held for slot, held in entries.items() if not _ended(held, now)}, ledger=ledger)

    def lookup(self, namespace: str, slots: Iterable[RemoteKey], now: float) -> Mapping[RemoteKey, StoredEntry]:
        """The entries that exist."""
        entries = self.held.get(namespace, {})
        found = ((slot, entries.get(slot)) for slot in slots)
        return {slot: held for slot, held in found if held is not None and not _ended(held, now)}

    def ledger(self, namespace: str, now: float) -> StoredLedger | None:
        """The ledger of a namespace, if it has not expired."""
        held = self.ledgers.get(namespace)
        return None if held is None or _ended(held, now) else held

    def put_ledger(self, namespace: str, ledger: StoredLedger) -> None:
        """Replace the ledger."""
        self.ledgers[namespace] = ledger

    def drop_ledger(self, namespace: str) -> None:
        """Remove the ledger."""
        self.ledgers.pop(namespace, None)

    def change(self, namespace: str, puts: Sequence[ConditionalPut], now: float) -> list[WriteResult]:
        """Make writes, each on its own."""
        return [self._change(self.held.setdefault(namespace, {}), put, now) for put in puts]

    def _change(self, entries: dict[RemoteKey, StoredEntry], put: ConditionalPut, now: float) -> WriteResult:
        present = entries.get(put.slot)
        if present is not None and _ended(present, now):
            del entries[put.slot]
            present = None
        if (conflict := _conflict(present, put)) is not None:
            return conflict
        if present is not None and present.locked:
            return _LOCKED
        if put.held is None:
            entries.pop(put.slot, None)
            return WriteResult(WriteStatus.DONE)
        self._versions += 1
        entries[put.slot] = replace(put.held, version=self._versions)
        return WriteResult(WriteStatus.DONE, etag=str(self._versions))


def _ended(held: StoredEntry | StoredLedger, now: float) -> bool:
    return held.expires_at is not None and held.expires_at <= now


def _conflict(present: StoredEntry | None, put: ConditionalPut) -> WriteResult | None:
    match put.precondition:
        case Precondition.ABSENT:
            return _EXISTS if present is not None else None
        case Precondition.UNCHANGED:
            return None if present is not None and str(present.version) == put.etag else _MOVED
    return None
