"""Takeover of the ledger that a store keeps for another owner, in a pass of `kvsync transfer --from-owner`.

    the store's ledger belongs to   the plan                          apply
    ─────────────────────────────   ───────────────────────────────   ─────────────────────────────────────────────────
    us, or there is none            as in any other pass              as in any other pass
    the previous owner, proven        its entries are `taken`, adopt    written once as ours, before anything is recorded
    the previous owner, not proven    an error                          nothing
    a third owner                   an error                          nothing

The ledger changes hands with one write, so every entry belongs to the one owner or to the other at any moment. Its rows stay as
they are: what differs from them in the store is drift for the new owner too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Self

from kvsync.errors import StoreError
from kvsync.ledger.document import LedgerDocument, LedgerRow
from kvsync.ledger.found import FoundLedger, LedgerNotOurs
from kvsync.ledger.in_store import LedgerInStore
from kvsync.ledger.target_ledger import TargetLedger
from kvsync.model.desired import Desired
from kvsync.model.entry import Actual, Applied, Identity, Mode
from kvsync.model.pass_options import PassOptions
from kvsync.model.snapshot import Snapshot
from kvsync.planning.pass_target import PassTarget
from kvsync.state import StateDir
from kvsync.stores.base import Store
from kvsync.stores.pacing import ConcurrencyLimiter
from kvsync.util.clock import Clock
from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class PreviousOwner:
    """The owner that is taken over, and the entries that the files define. `is_whole` is False if only a part of them is taken
    over."""

    name: str
    entries: Collection[Identity]
    is_whole: bool

    @classmethod
    def of(cls, desired: Desired, ask: PassOptions) -> Self | None:
        """The previous owner that a pass names, None if it names none."""
        if ask.from_owner is None:
            return None
        entries = {name for name, entry in desired.entries.items() if entry.mode is not Mode.OBSERVE}
        return cls(ask.from_owner, entries, not ask.keys)


class LedgerTransfer(TargetLedger):
    """The ledger of one target that may still belong to the previous owner. Until `leave`, rows of the previous owner are given
    with marks of that owner."""

    def __init__(
        self, store: Store, subject: PassTarget, state: StateDir, former: PreviousOwner, *, writing: bool
    ) -> None:
        super().__init__(store, subject, state, writing=writing)
        theirs = replace(subject, signer=replace(subject.signer, owner=former.name))
        self._former, self._theirs = former, TargetLedger(store, theirs, state, writing=False)
        self._taking: FoundLedger | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What becomes of the previous owner's ledger."""
        if self._taking is None:
            return ()
        rows = self._theirs.all()
        taken = sum(name in self._former.entries for name in rows)
        others = "; the others have no owner afterwards, because no file defines them" if taken < len(rows) else ""
        whose = f"the ledger of owner {self._former.name!r} in the store is taken over"
        return (f"{whose}: {taken:,} of its {len(rows):,} entries{others}",)

    def take_in(self, snapshot: Snapshot) -> None:
        """Take in the store's ledger, or look at the previous owner's. Raises LedgerNotOurs, StateDirError."""
        self._taking, self._overlay = None, None
        try:
            super().take_in(snapshot)
        except LedgerNotOurs:
            self._theirs.take_in(snapshot)
            self._taking = self._proven(self._theirs.found)
            self._overlay = self._rows_of_both()

    def _proven(self, found: FoundLedger | None) -> FoundLedger:
        """The previous owner's ledger. Raises LedgerNotOurs if it cannot be taken over."""
        place = f"{self._target}: the ledger of owner {self._former.name!r} in the store"
        if found is None or not found.is_whole:
            why = found.lost if found is not None else "it was not read"
            raise LedgerNotOurs(f"{place} cannot be taken over: {why}; let the kvsync of that owner write it again")
        if not self._former.is_whole:
            raise LedgerNotOurs(f"{place} can only be taken over as a whole; run kvsync transfer without --key")
        return found

    def _rows_of_both(self) -> dict[Identity, Applied]:
        known = self._state.ledger.all(self._key).items()
        ours = {identity: one for identity, one in known if one.mark.owner == self._signer.owner}
        return {**self._theirs.all(), **ours}

    def is_due(self, now: float) -> bool:
        """True if the store's ledger is to be taken over, differs from ours or expires soon."""
        return self._taking is not None or super().is_due(now)

    def unsettled(self) -> list[Identity]:
        """Entries whose write is announced, by us or by the previous owner. Raises StateDirError."""
        return super().unsettled() if self._taking is None else self._theirs.unsettled()

    def settle(self, found: Mapping[Identity, Actual]) -> None:
        """Record what was announced and carried out. Raises StateDirError."""
        if self._taking is None:
            return super().settle(found)
        self._theirs.settle(found)
        self._overlay = self._rows_of_both()
        return None

    async def take_over(self, pace: ConcurrencyLimiter, clock: Clock, stop: Callable[[], bool]) -> None:
        """Write the previous owner's ledger as ours, with one write. Raises LedgerNotOurs, StateDirError, StoreError."""
        if self._taking is None or self._keeper is None:
            return
        in_store = LedgerInStore(self._keeper, self._target.namespace, pace, clock, stop)
        if await in_store.read() != self._taking.text:
            raise LedgerNotOurs(
                f"{self._target}: the ledger in the store was changed after the plan was made; stop the kvsync of owner"
                f" {self._former.name!r}, and run kvsync transfer again"
            )
        ours = self._rows()
        rows = {**self._taken(self._former.entries), **ours}
        intents = {name: row for name, row in self._taking.intents.items() if name in rows}
        revision = 1 + max(self._taking.revision, *(one.revision for one in self._known()), 0)
        document = LedgerDocument(self._signer.owner, rows, revision, intents=intents)
        await self._write(in_store, document, clock.now(), ours, rows)
        self._taking = None

    def _taken(self, names: Iterable[Identity]) -> dict[Identity, LedgerRow]:
        found = self._theirs.get(names).items()
        return {identity: LedgerRow.of(one) for identity, one in found}

    async def write_if_due(self, pace: ConcurrencyLimiter, clock: Clock, stop: Callable[[], bool]) -> str | None:
        """Take the store's ledger over if that was not done yet, and write it if it is due; returns why that failed. Raises
        StateDirError."""
        try:
            await self.take_over(pace, clock, stop)
        except StoreError as error:
            return f"the ledger could not be taken over: {error}"
        self._overlay = None  # from here on everything is recorded as ours
        return await super().write_if_due(pace, clock, stop)
