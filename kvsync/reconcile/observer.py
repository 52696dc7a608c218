"""What the store holds of one target, as much of it as a pass needs to know."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

from kvsync.core.canonical import fingerprint
from kvsync.core.capabilities import Marks
from kvsync.core.compare import Comparison
from kvsync.core.model import Actual, Applied, Desired, Identity, Mark, Snapshot, Target, snapshot_of
from kvsync.state import StateDir
from kvsync.stores.base import Store


class Observer:
    """Observes one target, with our marks on the entries wherever they are kept."""

    def __init__(self, store: Store, target: Target, owner: str, state: StateDir) -> None:
        self._store, self._target, self._owner, self._ledger = store, target, owner, state.ledger
        self._by_ledger = store.capabilities.marks is Marks.LEDGER

    async def observe(self, token: str | None, *, deep: bool) -> Snapshot | None:
        """The target's snapshot, None when `token` still stands for its state. Raises StoreError."""
        snapshot = await self._store.observe(self._target.namespace, self._owner, token)
        if snapshot is None:
            return None
        if self._by_ledger:
            snapshot = with_marks(snapshot, self._ledger.all(self._target), self._owner)
        if deep and not self._store.capabilities.values_in_listing:
            snapshot = await self._read_all(snapshot)
        return snapshot

    async def look_closer(self, desired: Desired, snapshot: Snapshot, comparison: Comparison) -> dict[Identity, Actual]:
        """The differing entries that exist, with the values that judging or showing them takes. Raises StoreError."""
        held = {
            identity: snapshot.entries[identity] for identity in comparison.differing if identity in snapshot.entries
        }
        unread = [identity for identity, actual in held.items() if self._must_read(identity, actual, desired)]
        fresh = await self._read(unread)
        kept = {identity: actual for identity, actual in held.items() if identity not in set(unread)}
        return kept | self._completed(fresh, {identity: actual.mark for identity, actual in held.items()})

    async def look_again(self, identity: Identity) -> Actual | None:
        """One entry as it is now. Raises StoreError."""
        marks = {one: applied.mark for one, applied in self._ledger.get(self._target, [identity]).items()}
        return self._completed(await self._read([identity]), marks).get(identity)

    def _must_read(self, identity: Identity, actual: Actual, desired: Desired) -> bool:
        if actual.content is not None:
            return False
        entry = desired.entries.get(identity)
        if entry is None:
            return actual.mark is not None and actual.mark.owner == self._owner
        return actual.fingerprint != entry.fingerprint

    async def _read_all(self, snapshot: Snapshot) -> Snapshot:
        """The same snapshot with every value read, and its fingerprint taken from it, not from the listing."""
        marks = {identity: actual.mark for identity, actual in snapshot.entries.items()}
        entries = self._completed(await self._read(snapshot.entries), marks)
        deep = snapshot_of(self._target, entries.values(), self._owner)
        return replace(deep, complete=snapshot.complete, problems=snapshot.problems)

    def _completed(
        self, fresh: Mapping[Identity, Actual], marks: Mapping[Identity, Mark | None]
    ) -> dict[Identity, Actual]:
        """What was read, with the fingerprint of its true content and, where the ledger has them, our marks."""
        return {
            identity: replace(
                actual,
                fingerprint=fingerprint(actual.content) if actual.content is not None else actual.fingerprint,
                mark=marks.get(identity) if self._by_ledger else actual.mark,
            )
            for identity, actual in fresh.items()
        }

    async def _read(self, identities: Iterable[Identity]) -> dict[Identity, Actual]:
        """Read entries, as many a request as the store allows; absent ones are left out."""
        wanted = list(identities)
        size = max(self._store.capabilities.read_batch, 1)
        chunks = [wanted[start : start + size] for start in range(0, len(wanted), size)]
        gate = asyncio.Semaphore(max(self._store.capabilities.concurrency, 1))

        async def read(chunk: list[Identity]) -> Mapping[Identity, Actual]:
            async with gate:
                return await self._store.read(self._target.namespace, chunk)

        answers = await asyncio.gather(*(read(chunk) for chunk in chunks))
        return {identity: actual for answer in answers for identity, actual in answer.items()}


def with_marks(snapshot: Snapshot, applied: Mapping[Identity, Applied], owner: str) -> Snapshot:
    """A snapshot of a store that has no room for marks, with those the ledger keeps for it."""
    entries = [
        replace(actual, mark=applied[identity].mark if identity in applied else None)
        for identity, actual in snapshot.entries.items()
    ]
    marked = snapshot_of(snapshot.target, entries, owner, token=snapshot.token)
    return replace(marked, complete=snapshot.complete, problems=snapshot.problems)
