"""What was applied to one target, as far as anybody knows: by the ledger of the state directory and, where the store keeps
one too, by that.

    observe ──> take_in: the store's ledger and ours become one ──> (the pass) ──> leave: read it again, merge, write it

The store's ledger is written last, so that it never speaks of what is not there yet. What a killed pass could not leave in
it any more is known by the difference between our ledger and the store's as we last saw it. A command that only reads takes
the store's ledger in for itself alone, and writes nothing anywhere.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from kvsync.apply.pacing import Pace, Patience, Retry, Stopped
from kvsync.clock import Clock
from kvsync.core.ledger import LedgerDamaged, LedgerDocument, LedgerRefused, LedgerRow, decode, encode
from kvsync.core.merge import Describes, Rows, left_as_is, merge
from kvsync.core.model import Actual, Applied, Identity, Snapshot
from kvsync.core.plan import Cost
from kvsync.errors import PermanentError, StoreError, TransientError
from kvsync.logs import get_logger
from kvsync.reconcile.model import PassTarget
from kvsync.state import StateDir
from kvsync.stores.base import Finding, Store

_log = get_logger()

_Result = TypeVar("_Result")

_ROW_BYTES: Final = 60
"""Bytes that an entry takes in the ledger besides its key."""


class LedgerNotOurs(PermanentError):
    """The store's ledger may neither be read nor replaced: another owner's, or a newer kvsync's."""


@dataclass(frozen=True, slots=True)
class _Found:
    """The store's ledger at one moment: its bytes (None: not there), the rows in it, how often it was written, why it counts
    as lost, if it does, and whether it would be written the same today."""

    text: bytes | None
    rows: Rows
    revision: int = 0
    lost: str | None = None
    is_current: bool = True

    @property
    def is_whole(self) -> bool:
        """True when it can be gone by."""
        return self.text is not None and self.lost is None


class TargetLedger:
    """The ledger of one target. `writing` says that the state directory may take in what the store's ledger says."""

    def __init__(self, store: Store, subject: PassTarget, state: StateDir, *, writing: bool) -> None:
        self._store, self._target, self._state = store, subject.target, state
        self._key, self._signer = subject.key, subject.signer
        self._seals = state.seals(subject.signer.place.key)
        self._writing = writing
        self._overlay: dict[Identity, Applied] | None = None
        self._found: _Found | None = None
        self._expires_at: float | None = None

    def get(self, identities: Iterable[Identity]) -> dict[Identity, Applied]:
        """What was last applied of these entries. Raises StateDirError."""
        if self._overlay is None:
            return self._state.ledger.get(self._key, identities)
        return {identity: self._overlay[identity] for identity in identities if identity in self._overlay}

    def all(self) -> Mapping[Identity, Applied]:
        """All that was applied. Raises StateDirError."""
        return self._state.ledger.all(self._key) if self._overlay is None else self._overlay

    def take_in(self, snapshot: Snapshot) -> None:
        """Let the store's ledger, where it keeps one, say what was applied. Raises LedgerNotOurs, StateDirError."""
        if not self._store.keeps_ledger or (snapshot.ledger is None and not snapshot.complete):
            return
        self._expires_at = snapshot.ledger_expires_at
        known = self._known()
        same = [one for one in known if one.text == snapshot.ledger]
        self._found = _unless_older(same[-1] if same else self._read(snapshot.ledger), known)
        if (reason := _why_lost(self._found, known)) is not None:
            _log.warning("ledger.lost", store=self._target.store, namespace=self._target.namespace, reason=reason)
        if self._found.is_whole:
            self._merge(self._found, known, snapshot)

    def _merge(self, found: _Found, known: Sequence[_Found], snapshot: Snapshot) -> None:
        """Make what the store's ledger says, and what only we know, what this pass goes by."""
        ours = self._rows()
        if known and found.revision > known[-1].revision:
            known = known[-1:]  # whoever wrote it has read what we left
        describes = self._describes(snapshot.entries)
        merged = merge(ours, [one.rows for one in known], found.rows, describes, self._seals)
        if not self._writing:
            self._overlay = {identity: self._applied(row) for identity, row in merged.items()}
        elif found.text is not None and (merged != ours or [one.text for one in known] != [found.text]):
            self._take_in(found.text, ours, merged)

    def _take_in(self, text: bytes, ours: Rows, merged: Rows, *, left: bool = False) -> None:
        news = {identity: self._applied(row) for identity, row in merged.items() if row != ours.get(identity)}
        self._state.ledger.take_in(self._key, text, news, ours.keys() - merged.keys(), left=left)

    def _applied(self, row: LedgerRow) -> Applied:
        return row.applied(self._signer.owner, self._seals)

    def is_due(self, now: float) -> bool:
        """True when the store's ledger does not say what ours does, or ends before long."""
        if not self._store.keeps_ledger:
            return False
        ours, found = self._rows(), self._last()
        if not found.is_whole:
            return bool(ours)
        return not found.is_current or left_as_is(ours, found.rows, self._seals) != found.rows or self._is_ending(now)

    def next_moment(self, now: float, *, is_due: bool) -> float | None:
        """When the store's ledger must be written again although nothing changes (epoch seconds); None for never. `is_due`
        says that it is about to be written."""
        can = self._store.capabilities
        if not self._store.keeps_ledger or not can.always_expires or can.max_ttl is None:
            return None
        if is_due:
            return now + can.max_ttl - can.max_ttl / 3
        return self._renew_at

    def cost(self, new: Iterable[Identity]) -> Cost:
        """What it costs to leave the ledger in the store once the entries `new` are in it too."""
        if not self._store.keeps_ledger:
            return Cost()
        size = len(self._last().text or b"") + sum(
            len(identity.key.encode(errors="replace")) + _ROW_BYTES for identity in new
        )
        writes = -(-size // self._store.ledger_part) if self._store.ledger_part else 1
        rate = self._store.capabilities.writes_per_second
        return Cost(1 + writes, size, round(writes / rate, 3) if rate else 0.0)

    async def leave(self, pace: Pace, clock: Clock, stop: Callable[[], bool]) -> str | None:
        """Write the store's ledger, when it is due; returns why that could not be done. What could not be left is known to the
        state directory, and left by the next pass. Raises StateDirError."""
        if not self.is_due(clock.now()):
            return None
        rng = random.Random()  # noqa: S311 - spreads retries, guards nothing
        try:
            await self._leave(clock.now(), Patience(Retry(), pace, clock, rng, stop))
        except StoreError as error:
            return f"the ledger could not be left in the store: {error}; the next pass does so"
        return None

    async def _leave(self, now: float, patience: Patience) -> None:
        """Write what counts here, merged with what other machines have left there meanwhile."""
        known = [self._last(), *self._known()]
        found = _unless_older(self._read(await _patiently(self._read_again, patience)), known)
        ours = self._rows()
        merged = ours
        if found.is_whole:
            merged = merge(ours, [known[0].rows], found.rows, lambda name, row: row == ours.get(name), self._seals)
        document = LedgerDocument(self._signer.owner, left_as_is(merged, found.rows, self._seals), found.revision)
        if found.is_whole and encode(document, self._signer) == found.text and not self._is_ending(now):
            return
        newest = max(found.revision, *(one.revision for one in known))
        text = encode(replace(document, revision=newest + 1), self._signer)
        await _patiently(lambda: self._store.write_ledger(self._target.namespace, text), patience)
        where = {"store": self._target.store, "namespace": self._target.namespace}
        self._take_in(text, ours, merged, left=True)
        _log.debug("ledger.written", **where, entries=len(merged), bytes=len(text))

    def _rows(self) -> dict[Identity, LedgerRow]:
        """Our ledger, as it would stand in the store's."""
        ours = self.all().items()
        return {identity: LedgerRow.of(one) for identity, one in ours if one.mark.owner == self._signer.owner}

    def _last(self) -> _Found:
        """The store's ledger as this pass, or an earlier one, has seen it."""
        if self._found is None:
            self._found = (self._known() or [_Found(None, {})])[-1]
        return self._found

    def _known(self) -> list[_Found]:
        """What this machine knows of the store's ledger; nothing of one that an earlier owner of this directory left."""
        with suppress(LedgerNotOurs):
            return [self._read(text) for text in self._state.ledger.seen(self._key)]
        return []

    def _read(self, text: bytes | None) -> _Found:
        if text is None:
            return _Found(None, {})
        try:
            document = decode(text, self._signer)
        except LedgerDamaged as error:
            return _Found(text, {}, lost=str(error))
        except LedgerRefused as error:
            raise LedgerNotOurs(f"{self._target}: the ledger in the store: {error}") from None
        return _Found(text, document.rows, document.revision, is_current=document.is_current)

    async def _read_again(self) -> bytes | None:
        try:
            return await self._store.read_ledger(self._target.namespace)
        except PermanentError:
            return b""  # what is there cannot be read whole: it is lost, and replaced

    def _describes(self, entries: Mapping[Identity, Actual]) -> Describes:
        def describes(identity: Identity, row: LedgerRow) -> bool:
            actual = entries.get(identity)
            if actual is None:
                return False
            if actual.etag is not None and row.etag is not None:
                return self._store.is_version(actual.etag, row.etag)
            return actual.fingerprint is not None and self._applied(row).matches(actual.fingerprint)

        return describes

    def _is_ending(self, now: float) -> bool:
        moment = self._renew_at
        return moment is not None and moment <= now

    @property
    def _renew_at(self) -> float | None:
        """When less than a third of the longest life is left of the store's ledger."""
        longest = self._store.capabilities.max_ttl
        return None if self._expires_at is None or longest is None else self._expires_at - longest / 3


async def examine(store: Store, targets: Iterable[PassTarget]) -> Finding:
    """What `doctor` says of the ledgers that a store keeps: whether each is whole, and ours. Raises StoreError."""
    wrong: list[str] = []
    entries = 0
    for subject in targets:
        try:
            text = await store.read_ledger(subject.target.namespace)
            entries += len(decode(text, subject.signer).rows) if text is not None else 0
        except (LedgerDamaged, LedgerRefused, PermanentError) as error:
            wrong.append(f"{subject.target}: {error}")
    if not wrong:
        return Finding("ledger", True, f"{entries:,} entries in the ledgers that the store keeps")
    hint = "kvsync apply writes a damaged one again from its state directory; a fresh checkout adopts what is equal"
    return Finding("ledger", False, "; ".join(wrong), hint)


def _why_lost(found: _Found, known: Sequence[_Found]) -> str | None:
    is_gone = found.text is None and any(one.rows for one in known)
    return "it is not there any more" if is_gone else found.lost


def _unless_older(found: _Found, known: Iterable[_Found]) -> _Found:
    """What was found; a document that is older than one that this machine knows has come back from a copy or a late read,
    and counts as lost: it must make nothing ours again that was deleted since, and nothing foreign that was written
    since."""
    newest = max((one.revision for one in known), default=0)
    if found.is_whole and found.revision < newest:
        return replace(found, lost=f"it is an older one (revision {found.revision}, this machine knows {newest})")
    return found


async def _patiently(call: Callable[[], Awaitable[_Result]], patience: Patience) -> _Result:
    """The answer, after as many attempts as patience has. Both calls may be repeated: a ledger is read and written whole."""
    while True:
        try:
            return await call()
        except TransientError as error:
            try:
                await patience.wait(error)
            except Stopped:
                raise error from None
