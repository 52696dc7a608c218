"""Observes a target: reads as much of the store as the pass needs."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from kvsync.apply.read_back import fingerprint_of, kept_etag, shown_etag
from kvsync.ledger.target_ledger import TargetLedger
from kvsync.model.capabilities import Lifetimes, Marks
from kvsync.model.desired import Desired
from kvsync.model.entry import Actual, Applied, Entry, Identity, Mode
from kvsync.model.policy import Prune
from kvsync.model.snapshot import Snapshot, snapshot_of
from kvsync.planning.compare import Comparison
from kvsync.planning.difference import CLOCK_SLACK
from kvsync.planning.pass_target import PassTarget
from kvsync.state import StateDir
from kvsync.stores.base import Store
from kvsync.stores.extensions import observe_deep, version_hints
from kvsync.stores.partial import PartialRead
from kvsync.util.background import off_loop
from kvsync.util.concurrency import gather_or_cancel

if TYPE_CHECKING:
    from kvsync.ledger.transfer import PreviousOwner


class Observer:
    """Observes one target, and adds marks from the ledger if the store has none."""

    def __init__(
        self,
        store: Store,
        subject: PassTarget,
        state: StateDir,
        *,
        writing: bool = False,
        former: PreviousOwner | None = None,
    ) -> None:
        self.subject, self.target = subject, subject.target
        self.ledger = TargetLedger(store, subject, state, writing=writing)
        if former is not None:
            from kvsync.ledger.transfer import LedgerTransfer  # only a transfer pays for it

            self.ledger = LedgerTransfer(store, subject, state, former, writing=writing)
        self._store, self._signer, self._hints = store, subject.signer, version_hints(store)
        self.read_entries: Mapping[Identity, Actual] = {}
        self.unread: dict[Identity, str] = {}
        """Why some entries could not be read while others could."""
        self._by_ledger = store.capabilities.marks is Marks.LEDGER
        self._keeps_lifetimes = store.capabilities.lifetimes is Lifetimes.EMULATED

    async def observe(self, token: str | None, *, deep: bool) -> Snapshot | None:
        """The target's snapshot, None if `token` still represents its state. Raises StoreError."""
        reads = deep and not self._store.capabilities.values_in_listing
        known = await self._observe_deep() if reads else None
        snapshot = known or await self._store.observe(self.target.namespace, self._signer, token)
        if snapshot is None:
            return None
        if known is None:
            await off_loop(partial(self.ledger.take_in, snapshot), len(snapshot.entries))
            await self._settle(snapshot)
        if self._by_ledger:
            snapshot = await off_loop(partial(self._with_marks, snapshot), len(snapshot.entries))
        if reads and known is None:
            snapshot = await self._read_all(snapshot)
        return snapshot

    async def _observe_deep(self) -> Snapshot | None:
        """The store's own deep listing. None if it has none, or if the listing lacks an entry of ours that an ordinary one
        shows: then neither is complete."""
        deep = await observe_deep(self._store, self.target.namespace, self._signer)
        if deep is None:
            return None
        self.ledger.take_in(deep)
        await self._settle(deep)
        applied = self.ledger.all()
        lacking = {name for name in applied.keys() - deep.entries.keys() if applied[name].is_there}
        listed = await self._store.observe(self.target.namespace, self._signer) if lacking else None
        if listed is None or (listed.complete and lacking.isdisjoint(listed.entries)):
            return deep
        return None

    async def _settle(self, snapshot: Snapshot) -> None:
        """Find out the outcome of writes that another machine announced but never recorded. Raises StoreError."""
        listed = {name: snapshot.entries[name] for name in self.ledger.unsettled() if name in snapshot.entries}
        if not listed:
            return
        try:
            fresh: Mapping[Identity, Actual] = await self._read(
                [name for name, actual in listed.items() if actual.fingerprint is None]
            )
        except PartialRead as partial:  # the others are looked at in the next pass
            fresh = partial.found
        self.ledger.settle(listed | self._completed(fresh, {}))

    async def read_differing(
        self, desired: Desired, snapshot: Snapshot, comparison: Comparison, doubtful: Collection[Identity] = ()
    ) -> dict[Identity, Actual]:
        """The differing entries that exist, with the values that classifying or showing them needs. The listing of `doubtful`
        ones is known to be late, so they are read. Raises StoreError."""
        look = partial(self._listed, desired, snapshot, comparison, set(doubtful))
        held, wanted = await off_loop(look, len(comparison.differing))
        fresh = await self.read_some([*wanted, *doubtful])
        held |= {identity: snapshot.entries[identity] for identity in self.unread if identity in snapshot.entries}
        for identity in wanted:
            if identity not in self.unread:
                del held[identity]  # it may be gone by now
        self.read_entries = held | fresh
        return self.read_entries

    def _listed(
        self, desired: Desired, snapshot: Snapshot, comparison: Comparison, unsure: Collection[Identity]
    ) -> tuple[dict[Identity, Actual], list[Identity]]:
        """The differing entries as listed, and those that must be read."""
        held = {
            identity: snapshot.entries[identity]
            for identity in comparison.differing
            if identity in snapshot.entries and identity not in unsure
        }
        held |= self._unsealed(held, desired)
        return held, [identity for identity, actual in held.items() if self._must_read(identity, actual, desired)]

    def shown(self, actual: Actual, entry: Entry | None) -> Actual:
        """An entry in the form in which plans may show it."""
        sensitive = (actual.mark is not None and actual.mark.sensitive) or (entry is not None and entry.sensitive)
        return replace(actual, etag=shown_etag(actual.etag, sensitive=sensitive, capabilities=self._store.capabilities))

    def kept_etag(self, actual: Actual, *, sensitive: bool) -> str | None:
        """The etag of an entry in the form in which the ledger may keep it."""
        return kept_etag(actual.etag, sensitive=sensitive, store=self._store)

    async def reread(self, identity: Identity) -> Actual | None:
        """Read one entry. Raises StoreError."""
        return (await self.read([identity])).get(identity)

    async def read_some(self, identities: Sequence[Identity]) -> dict[Identity, Actual]:
        """Read entries with content; missing ones are left out. So are entries that cannot be read while others can: `unread`
        has their reasons. Raises StoreError."""
        try:
            found: Mapping[Identity, Actual] = await self._read(identities)
        except PartialRead as partial:
            found = partial.found
            self.unread |= partial.failed
        return self._completed(found, self._recorded(identities))

    async def read(self, identities: Sequence[Identity]) -> dict[Identity, Actual]:
        """Read entries with content; missing ones are left out. Raises StoreError, PartialRead."""
        return self._completed(await self._read(identities), self._recorded(identities))

    def _must_read(self, identity: Identity, actual: Actual, desired: Desired) -> bool:
        if actual.content is not None:
            return False
        entry = desired.entries.get(identity)
        if entry is None and actual.mark is None:
            # what goes although it is nobody's must be known by more than a listing tells
            return desired.policy.prune is Prune.SCOPE and actual.fingerprint is None and actual.etag is not None
        if entry is None:
            return self._signer.claims(actual)
        return actual.fingerprint != entry.fingerprint and entry.mode is not Mode.CREATE_ONLY

    def _unsealed(self, held: Mapping[Identity, Actual], desired: Desired) -> dict[Identity, Actual]:
        """Fingerprints of entries at the version that kvsync left, of which the ledger has only a sealed fingerprint: equal to
        the desired one, or unknown."""
        blind = [
            identity
            for identity, actual in held.items()
            if actual.fingerprint is None and actual.etag is not None and actual.mark and actual.mark.key is not None
        ]
        found: dict[Identity, Actual] = {}
        for identity, known in self.ledger.get(blind).items():
            entry = desired.entries.get(identity)
            if entry is not None and known.etag == held[identity].etag and known.matches(entry.fingerprint):
                found[identity] = replace(held[identity], fingerprint=entry.fingerprint)
        return found

    async def _read_all(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with every value read, and with fingerprints computed from the values."""
        entries = await self.read_some(list(snapshot.entries))
        unread = {identity: snapshot.entries[identity] for identity in self.unread}
        deep = snapshot_of(self.target, (entries | unread).values(), self._signer)
        problems = tuple(f"{identity} could not be read: {why}" for identity, why in self.unread.items())
        return replace(deep, complete=snapshot.complete and not problems, problems=snapshot.problems + problems)

    def _recorded(self, identities: Iterable[Identity]) -> Mapping[Identity, Applied]:
        """The ledger rows of entries whose marks exist only there."""
        return self.ledger.get(identities) if self._by_ledger else {}

    def _completed(self, fresh: Mapping[Identity, Actual], known: Mapping[Identity, Applied]) -> dict[Identity, Actual]:
        """Read entries with the fingerprint of their content and, if the ledger has them, our marks."""
        read = {
            identity: replace(actual, fingerprint=fingerprint_of(replace(actual, fingerprint=None)))
            if actual.content is not None
            else actual
            for identity, actual in fresh.items()
        }
        if not self._by_ledger:
            return read
        return {identity: self._marked(actual, known.get(identity)) for identity, actual in read.items()}

    def _with_marks(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot of a store without marks, with the marks from the ledger."""
        applied = self.ledger.all()
        entries = [self._known(actual, applied.get(identity)) for identity, actual in snapshot.entries.items()]
        marked = snapshot_of(snapshot.target, entries, self._signer, token=snapshot.token)
        return replace(marked, complete=snapshot.complete, problems=snapshot.problems)

    def _known(self, actual: Actual, known: Applied | None) -> Actual:
        """A listed entry with our mark. If the listing has no fingerprint, an entry at the version that kvsync left has the
        content and the full etag that kvsync left."""
        marked = self._marked(actual, known)
        if known is None or marked.mark is None or actual.fingerprint is not None:
            return marked
        if known.unseen_since is not None:
            return marked  # someone may have made it since; only its content tells
        if actual.etag is None or known.etag is None or not self._hints.may_be_version(actual.etag, known.etag):
            return marked
        return replace(marked, etag=known.etag, fingerprint=known.mark.fingerprint if known.mark.key is None else None)

    def _marked(self, actual: Actual, known: Applied | None) -> Actual:
        """An entry with our mark, and with its end if only the ledger has that. An entry that was not visible for a while and
        has other content now was made by another program."""
        if known is None or self._is_over(known):
            return replace(actual, mark=None)
        is_seen = known.unseen_since is None or actual.fingerprint is None
        if not is_seen and not known.matches(actual.fingerprint or b""):
            return replace(actual, mark=None)
        expires_at = known.expires_at if self._keeps_lifetimes else actual.expires_at
        return replace(actual, mark=known.mark, expires_at=expires_at)

    def _is_over(self, known: Applied) -> bool:
        """True if the entry that kvsync wrote here has ended: what exists now was made by another program."""
        if known.has_ended or known.expires_at is None or self._keeps_lifetimes:
            return known.has_ended
        return known.expires_at + CLOCK_SLACK < self._store.context.clock.now()

    async def _read(self, identities: Iterable[Identity]) -> dict[Identity, Actual]:
        """Read entries, in calls as large as the store allows; missing ones are left out. Raises StoreError, PartialRead."""
        wanted = list(identities)
        size = max(self._store.capabilities.read_batch, 1)
        chunks = [wanted[start : start + size] for start in range(0, len(wanted), size)]
        gate = asyncio.Semaphore(max(self._store.capabilities.concurrency, 1))

        failed: dict[Identity, str] = {}

        async def read(chunk: list[Identity]) -> Mapping[Identity, Actual]:
            async with gate:
                try:
                    return await self._store.read(self.target.namespace, chunk)
                except PartialRead as partial:
                    failed.update(partial.failed)
                    return partial.found

        answers = await gather_or_cancel(read(chunk) for chunk in chunks)
        found = {identity: actual for answer in answers for identity, actual in answer.items()}
        if failed:
            raise PartialRead(found, failed)
        return found
