"""Ledger of one target, combined from the state directory and, where supported, the store.

    observe ──> take_in: the store's ledger and ours become one ──> (the pass) ──> leave: read it again, merge, write it
                                                          announce: what the pass is about to write

The store's ledger is written after the entries, and before them where some get new content: so another machine knows them as
ours by that content when this one is killed in between. New ones are in it as out of sight, others as intents. What a killed
pass could not leave in it any more is known by the difference between our ledger and the store's as we last saw it. A command
that only reads takes the store's ledger in for itself alone, and writes nothing anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from kvsync.errors import StoreError
from kvsync.ledger.document import LedgerDocument, LedgerRow, encode
from kvsync.ledger.found import FoundLedger, LedgerNotOurs, read_ledger
from kvsync.ledger.in_store import LedgerInStore
from kvsync.ledger.intents import landed, still_open, unsettled
from kvsync.ledger.merge import Describes, Rows, left_as_is, merge
from kvsync.logs import get_logger
from kvsync.model.entry import Actual, Applied, Entry, Identity, Mark
from kvsync.model.plan import Cost
from kvsync.model.snapshot import Snapshot
from kvsync.planning.pass_target import PassTarget
from kvsync.state import StateDir
from kvsync.stores.base import Store
from kvsync.stores.extensions import as_ledger_keeping, version_hints
from kvsync.stores.pacing import ConcurrencyLimiter
from kvsync.util.clock import Clock

_log = get_logger()

_ROW_BYTES: Final = 60
"""Bytes that an entry takes in the ledger besides its key."""


class TargetLedger:
    """The ledger of one target. With `writing`, the state directory takes over what the store's ledger says."""

    def __init__(self, store: Store, subject: PassTarget, state: StateDir, *, writing: bool) -> None:
        self._store, self._target, self._state = store, subject.target, state
        self._keeper = as_ledger_keeping(store)
        self._subject, self._key, self._signer = subject, subject.key, subject.signer
        self._keys = state.sealing_keys(subject.signer.place.key)
        self._writing = writing
        self._overlay: dict[Identity, Applied] | None = None
        self._found: FoundLedger | None = None
        self._expires_at: float | None = None
        self._intents: Rows = {}
        self._own: frozenset[Identity] = frozenset()

    def get(self, identities: Iterable[Identity]) -> dict[Identity, Applied]:
        """What was last applied of these entries. Raises StateDirError."""
        if self._overlay is None:
            return self._state.ledger.get(self._key, identities)
        return {identity: self._overlay[identity] for identity in identities if identity in self._overlay}

    @property
    def found(self) -> FoundLedger | None:
        """The store's ledger as this pass read it, None if it did not."""
        return self._found

    @property
    def notes(self) -> tuple[str, ...]:
        """What the plan says about the store's ledger, as sentences."""
        return ()

    async def take_over(self, pace: ConcurrencyLimiter, clock: Clock, stop: Callable[[], bool]) -> None:
        """Make the store's ledger ours if it is taken over in this pass; see `LedgerTransfer`. Raises StoreError."""

    def all(self) -> Mapping[Identity, Applied]:
        """All that was applied. Raises StateDirError."""
        return self._state.ledger.all(self._key) if self._overlay is None else self._overlay

    def take_in(self, snapshot: Snapshot) -> None:
        """Take in the store's ledger, if it keeps one. Raises LedgerNotOurs, StateDirError."""
        if self._keeper is None or (snapshot.ledger is None and not snapshot.complete):
            return
        self._expires_at = snapshot.ledger_expires_at
        known = self._known()
        same = [one for one in known if one.text == snapshot.ledger]
        self._found = (same[-1] if same else read_ledger(snapshot.ledger, self._subject)).unless_older(known)
        if (reason := self._found.why_lost(known)) is not None:
            _log.warning("ledger.lost", store=self._target.store, namespace=self._target.namespace, reason=reason)
        if self._found.is_whole:
            self._merge(self._found, known, snapshot)

    def _merge(self, found: FoundLedger, known: Sequence[FoundLedger], snapshot: Snapshot) -> None:
        """Merge the store's ledger with local knowledge, for this pass."""
        ours = self._rows()
        if known and found.revision > known[-1].revision:
            known = known[-1:]  # whoever wrote it has read what we left
        describes = self._describes(snapshot.entries)
        merged = merge(ours, [one.rows for one in known], found.rows, describes, self._keys)
        if not self._writing:
            self._overlay = {identity: self._applied(row) for identity, row in merged.items()}
        elif found.text is not None and (merged != ours or [one.text for one in known] != [found.text]):
            self._take_in(found.text, ours, merged)

    def _take_in(self, text: bytes, ours: Rows, merged: Rows, *, left: bool = False) -> None:
        news = {identity: self._applied(row) for identity, row in merged.items() if row != ours.get(identity)}
        self._state.ledger.take_in(self._key, text, news, ours.keys() - merged.keys(), left=left)

    def _applied(self, row: LedgerRow) -> Applied:
        return row.applied(self._signer.owner, self._keys)

    def is_due(self, now: float) -> bool:
        """True if the store's ledger differs from ours or expires soon."""
        if self._keeper is None:
            return False
        ours, found = self._rows(), self._last()
        if not found.is_whole:
            return bool(ours)
        says_it = left_as_is(ours, found.rows, self._keys) == found.rows
        has_all = still_open(found.intents, found.rows, found.rows, now) == found.intents
        return not (found.is_current and says_it and has_all) or bool(self._intents) or self._is_ending(now)

    def next_moment(self, now: float, *, is_due: bool) -> float | None:
        """When the store's ledger must be written again although nothing changes (epoch seconds); None: never. `is_due` says
        that it is about to be written."""
        can = self._store.capabilities
        if self._keeper is None or not can.always_expires or can.max_ttl is None:
            return None
        if is_due:
            return now + can.max_ttl - can.max_ttl / 3
        return self._renew_at

    def cost(self, new: Iterable[Identity]) -> Cost:
        """The cost of writing the ledger to the store once the entries `new` are in it."""
        if self._keeper is None:
            return Cost()
        names = list(new)
        size = len(self._last().text or b"") + sum(
            len(identity.key.encode(errors="replace")) + _ROW_BYTES for identity in names
        )
        times = 2 if names else 1
        writes = -(-size // self._keeper.ledger_chunk_bytes) if self._keeper.ledger_chunk_bytes else 1
        rate = self._store.capabilities.writes_per_second
        seconds = round(times * writes / rate, 3) if rate else 0.0
        return Cost(times * (1 + writes), times * size, seconds)

    def unsettled(self) -> list[Identity]:
        """Entries whose write is announced in the store's ledger, with an unknown outcome. Raises StateDirError."""
        announced = self._found.intents if self._found is not None else {}
        return list(unsettled(announced, self.get(announced))) if announced else []

    def settle(self, found: Mapping[Identity, Actual]) -> None:
        """Record those of these entries as applied that hold what was announced. Raises StateDirError."""
        news = {} if self._found is None else landed(self._found.intents, found, self._applied)
        if self._overlay is not None:
            self._overlay |= news
        elif news:
            self._state.ledger.record(self._key, news)

    async def announce(
        self, entries: Iterable[Entry], pace: ConcurrencyLimiter, clock: Clock, stop: Callable[[], bool]
    ) -> None:
        """Write to the store's ledger what entries are about to hold: if this machine is killed before it can record them, the
        next one knows them as ours by their content. Raises LedgerNotOurs, StateDirError, and StoreError if it cannot be
        written."""
        if self._keeper is None:
            return
        now = clock.now()
        rows = {entry.identity: self._announced(entry, now) for entry in entries}
        if not rows:
            return
        known = self.get(rows)
        self._intents = {name: row for name, row in rows.items() if name in known and not known[name].has_ended}
        new = {name: row for name, row in rows.items() if name not in self._intents}
        await self._leave(LedgerInStore(self._keeper, self._target.namespace, pace, clock, stop), now, new)

    def _announced(self, entry: Entry, now: float) -> LedgerRow:
        mark = Mark(self._signer.owner, entry.fingerprint, entry.ttl, entry.sensitive, entry.protected)
        return LedgerRow.of(Applied(self._keys.sealed(mark), unseen_since=now))

    async def write_if_due(self, pace: ConcurrencyLimiter, clock: Clock, stop: Callable[[], bool]) -> str | None:
        """Write the store's ledger if it is due; returns why that failed. The state directory keeps what could not be written,
        and the next pass writes it. Raises StateDirError."""
        if self._keeper is None or not self.is_due(clock.now()):
            return None
        try:
            self._intents, self._own = {}, frozenset(self._intents)
            await self._leave(LedgerInStore(self._keeper, self._target.namespace, pace, clock, stop), clock.now(), {})
        except StoreError as error:
            return f"the ledger could not be written to the store: {error}; the next pass tries again"
        return None

    async def give_up(
        self, kept: Collection[Identity], pace: ConcurrencyLimiter, clock: Clock, stop: Callable[[], bool]
    ) -> str | None:
        """Forget everything except the entries `kept`, in the state directory and in the store; returns why the store's ledger
        could not be changed. Raises StateDirError."""
        if kept:
            self._state.ledger.record(self._key, {}, [name for name in self.all() if name not in kept])
            return await self.write_if_due(pace, clock, stop)
        if self._keeper is not None:
            in_store = LedgerInStore(self._keeper, self._target.namespace, pace, clock, stop)
            try:
                read_ledger(await in_store.read(), self._subject)
                await in_store.remove()
            except StoreError as error:
                return f"the ledger could not be removed from the store: {error}; run kvsync release again"
        self._state.ledger.remove(self._key)
        return None

    async def retire(
        self, gone: Iterable[Identity], pace: ConcurrencyLimiter, clock: Clock, stop: Callable[[], bool]
    ) -> str | None:
        """Forget the entries `gone`. The ledger in the store is removed with the last entry; a ledger that belongs to another
        target by now stays. Returns why the store's ledger could not be changed. Raises StateDirError."""
        self._state.ledger.record(self._key, {}, gone)
        if self._keeper is None:
            return None
        in_store = LedgerInStore(self._keeper, self._target.namespace, pace, clock, stop)
        try:
            found = read_ledger(await in_store.read(), self._subject)
            if found.is_whole and not self._rows():
                await in_store.remove()
        except StoreError as error:
            return f"the ledger could not be removed from the store: {error}"
        return await self.write_if_due(pace, clock, stop) if found.is_whole and self._rows() else None

    async def _leave(self, in_store: LedgerInStore, now: float, announced: Rows) -> None:
        """Write the merged ledger: ours, what other machines have written in the meantime, and the `announced` rows."""
        known = [self._last(), *self._known()]
        found = read_ledger(await in_store.read(), self._subject).unless_older(known)
        ours = self._rows()
        merged: Rows = ours
        if found.is_whole:
            merged = merge(ours, [known[0].rows], found.rows, lambda name, row: row == ours.get(name), self._keys)
        merged = {**announced, **merged}
        rows = left_as_is(merged, found.rows, self._keys)
        others = still_open(found.intents, found.rows, rows, now)
        intents = {**{name: row for name, row in others.items() if name not in self._own}, **self._intents}
        document = LedgerDocument(self._signer.owner, rows, found.revision, intents=intents)
        is_said = found.is_whole and encode(document, self._signer) == found.text
        if is_said and not self._is_ending(now):
            return
        document = replace(document, revision=1 + max(found.revision, *(one.revision for one in known)))
        await self._write(in_store, document, now, ours, merged)

    async def _write(
        self, in_store: LedgerInStore, document: LedgerDocument, now: float, ours: Rows, merged: Rows
    ) -> None:
        """Write a new ledger to the store, then record that `merged` replaces `ours` here."""
        text = encode(document, self._signer)
        await in_store.write(text)
        self._take_in(text, ours, merged, left=True)
        self._found = FoundLedger(text, document.rows, document.revision, intents=document.intents)
        self._expires_at = None if self._renew_at is None else now + (self._store.capabilities.max_ttl or 0)
        where = {"store": self._target.store, "namespace": self._target.namespace}
        _log.debug("ledger.written", **where, entries=len(merged), bytes=len(text))

    def _rows(self) -> dict[Identity, LedgerRow]:
        """Our ledger as it would be written to the store."""
        ours = self.all().items()
        return {identity: LedgerRow.of(one) for identity, one in ours if one.mark.owner == self._signer.owner}

    def _last(self) -> FoundLedger:
        """The store's ledger as this pass, or an earlier one, saw it."""
        if self._found is None:
            self._found = (self._known() or [FoundLedger(None, {})])[-1]
        return self._found

    def _known(self) -> list[FoundLedger]:
        """What this machine knows of the store's ledger, without what an earlier owner of this state directory left."""
        with suppress(LedgerNotOurs):
            return [read_ledger(text, self._subject) for text in self._state.ledger.seen(self._key)]
        return []

    def _describes(self, entries: Mapping[Identity, Actual]) -> Describes:
        hints = version_hints(self._store)

        def describes(identity: Identity, row: LedgerRow) -> bool:
            actual = entries.get(identity)
            if actual is None:
                return False
            if actual.etag is not None and row.etag is not None:
                return hints.may_be_version(actual.etag, row.etag)
            return actual.fingerprint is not None and self._applied(row).matches(actual.fingerprint)

        return describes

    def _is_ending(self, now: float) -> bool:
        moment = self._renew_at
        return moment is not None and moment <= now

    @property
    def _renew_at(self) -> float | None:
        """When a third of the longest lifetime is left of the store's ledger."""
        longest = self._store.capabilities.max_ttl
        return None if self._expires_at is None or longest is None else self._expires_at - longest / 3
