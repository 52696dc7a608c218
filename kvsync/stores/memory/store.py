"""Reference implementation of a store: entries in a dictionary of this process.

`kvsync.stores.memory.backend.MemoryBackend` is the remote side, `MemoryStore` the connection to it. Several connections may
share one backend, as several hosts share a remote. The capabilities of a connection can be narrowed to those of any store: so
kvsync is tested against stores without versions, without lifetimes, without marks, and so on; see `kvsync.testing`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b

from kvsync.config.model import StoreConfig
from kvsync.errors import BatchRefused
from kvsync.model.canonical import fingerprint
from kvsync.model.capabilities import Capabilities, Lifetimes, Marks
from kvsync.model.entry import Actual, Content, Identity, Target
from kvsync.model.health import DoctorCheck
from kvsync.model.key_format import KeyFormat
from kvsync.model.place import Place
from kvsync.model.snapshot import Snapshot
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Store, StoreContext, Write, WriteResult
from kvsync.stores.limits import check_batch, check_entry
from kvsync.stores.memory.backend import ConditionalPut, MemoryBackend, RemoteKey, StoredEntry, StoredLedger
from kvsync.yaml.fields import Field, text

_SHARED: dict[str, MemoryBackend] = {}


class MemoryStore(Store):
    """A connection to a `MemoryBackend`: its own, the one it is given, or the one that the option `shared` names."""

    options = (
        Field("shared", text(), help="Name of the data; stores with the same name in one process share their entries."),
    )
    capabilities = Capabilities(
        type="memory",
        namespace="a name",
        max_key=1024,
        max_value=16 * 1024 * 1024,
        batch=1000,
        read_batch=1000,
        page=1000,
    )

    keeps_ledger: bool = False
    ledger_chunk_bytes: int | None = None
    lists_sizes: bool = False
    """Whether a listing shows only the size of an entry, and a deep one also its digest, as in a store without versions."""

    def __init__(
        self,
        config: StoreConfig,
        context: StoreContext,
        *,
        memory: MemoryBackend | None = None,
        capabilities: Capabilities | None = None,
        keeps_ledger: bool = False,
        lists_sizes: bool = False,
    ) -> None:
        super().__init__(config, context)
        self.capabilities = capabilities or self.capabilities
        self.keeps_ledger = keeps_ledger or self.keeps_ledger
        self.lists_sizes = lists_sizes or self.lists_sizes
        self._keys = KeyFormat(config.key_format or "{key}", native_labels=self.capabilities.labels)
        shared: str | None = config.options.get("shared")
        self._memory = memory or (MemoryBackend() if shared is None else _SHARED.setdefault(shared, MemoryBackend()))

    def normalise(self, content: Content) -> Content:
        """The content without the parts that the capabilities exclude."""
        has = self.capabilities
        return Content(
            content.value,
            content.content_type if has.content_type else None,
            content.tags if has.tags else (),
            content.metadata if has.metadata else None,
        )

    def remote_key(self, namespace: str, identity: Identity) -> str:
        """The key by the configured format."""
        return self._keys.encode(namespace, identity)

    def place(self, namespace: str) -> Place:
        """The backend, which ends with its process."""
        parts = (("memory", self._memory.id), ("namespace", namespace))
        return Place(self.config.type, parts, self._keys.scope(namespace))

    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        """Everything in `namespace`; with values if the capabilities have them in a listing."""
        return self._observe(namespace, signer, self._listed)

    async def observe_deep(self, namespace: str, signer: MarkSigner) -> Snapshot | None:
        """The same with digests, if a listing shows only sizes."""
        return self._observe(namespace, signer, self._listed_deep) if self.lists_sizes else None

    def may_be_version(self, seen: str, known: str) -> bool:
        """True if the etags are equal, or the etag of a listing is the size in the other."""
        return seen == known or (self.lists_sizes and known.startswith(f"{seen}:"))

    def redacted_etag(self, etag: str) -> str:
        """The size, if that is all that a listing shows."""
        return etag.partition(":")[0] if self.lists_sizes else etag

    def _observe(
        self, namespace: str, signer: MarkSigner, listed_as: Callable[[Identity, StoredEntry], Actual]
    ) -> Snapshot:
        listed = self._memory.listing(namespace, self._now())
        self._count(len(listed.entries), self.capabilities.page)
        ledger = listed.ledger if self.keeps_ledger else None
        entries = {}
        for slot, held in listed.entries.items():
            identity = self._keys.decode(namespace, slot.key, slot.label)
            if identity is not None:
                entries[identity] = listed_as(identity, held)
        settled = {
            identity: entry.fingerprint
            for identity, entry in entries.items()
            if entry.fingerprint is not None and signer.is_settled(entry)
        }
        target = Target(self.config.name, namespace)
        return Snapshot(
            target,
            entries,
            settled,
            complete=not listed.problems,
            problems=listed.problems,
            ledger=ledger.text if ledger is not None else None,
            ledger_expires_at=ledger.expires_at if ledger is not None else None,
        )

    async def read(self, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        """These entries with their values."""
        self._count(len(identities), self.capabilities.read_batch)
        slots = {self._slot(namespace, identity): identity for identity in identities}
        found = self._memory.lookup(namespace, slots, self._now())
        return {slots[slot]: self._actual(slots[slot], held) for slot, held in found.items()}

    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Validate the whole batch, then do its writes one after another."""
        where = f"store {self.config.name}/{namespace}"
        check_batch(where, writes, self.capabilities)
        for write in writes:
            try:
                check_entry(self.remote_key(namespace, write.identity), write.content, self.capabilities)
            except ValueError as problem:
                raise BatchRefused(f"{where}/{write.identity}: {problem}") from None
        self._count(1, 1)
        puts = [self._put(namespace, write) for write in writes]
        results = self._memory.change(namespace, puts, self._now())
        if self.capabilities.compare_and_set:
            return results
        return [
            replace(result, etag=self._etag(put.held) if result.etag is not None and put.held is not None else None)
            for put, result in zip(puts, results, strict=True)
        ]

    async def read_ledger(self, namespace: str) -> bytes | None:
        """The ledger as it was written."""
        self._count(1, 1)
        ledger = self._memory.ledger(namespace, self._now())
        return None if ledger is None else ledger.text

    async def write_ledger(self, namespace: str, ledger: bytes) -> None:
        """Keep it next to the entries, for as long as the capabilities allow."""
        self._count(1, 1)
        has = self.capabilities
        ends = has.always_expires and has.max_ttl is not None
        expires_at = self.context.clock.now() + (has.max_ttl or 0) if ends else None
        self._memory.put_ledger(namespace, StoredLedger(ledger, expires_at))

    async def remove_ledger(self, namespace: str) -> None:
        """Delete the ledger."""
        self._count(1, 1)
        self._memory.drop_ledger(namespace)

    async def namespaces(self) -> Sequence[str]:
        """The namespaces that hold an entry."""
        return sorted(name for name in self._memory.held if self._memory.listing(name, self._now()).entries)

    async def check(self) -> Sequence[DoctorCheck]:
        """Always succeeds."""
        return (DoctorCheck("memory", True, "kept in this process"),)

    def _now(self) -> float:
        """The present, if the capabilities expire entries natively."""
        native = self.capabilities.lifetimes is Lifetimes.NATIVE
        return self.context.clock.now() if native else 0.0

    def _count(self, entries: int, page: int) -> None:
        self.traffic.requests += max(1, -(-entries // page))

    def _slot(self, namespace: str, identity: Identity) -> RemoteKey:
        label = None if self._keys.holds_label else identity.label
        return RemoteKey(self._keys.encode(namespace, identity), label)

    def _put(self, namespace: str, write: Write) -> ConditionalPut:
        return ConditionalPut(
            self._slot(namespace, write.identity),
            None if write.content is None else self._held(write, write.content),
            write.precondition if self.capabilities.compare_and_set else None,
            write.etag,
        )

    def _held(self, write: Write, content: Content) -> StoredEntry:
        has = self.capabilities
        expires_at = write.expires_at
        if expires_at is None and has.always_expires and has.max_ttl is not None:
            expires_at = self.context.clock.now() + has.max_ttl
        keeps_moments = has.lifetimes is Lifetimes.NATIVE or has.marks is Marks.STORE
        return StoredEntry(
            self.normalise(content),
            version=0,
            mark=write.mark if has.marks is Marks.STORE else None,
            expires_at=expires_at if keeps_moments else None,
        )

    def _actual(self, identity: Identity, held: StoredEntry) -> Actual:
        return Actual(
            identity,
            etag=self._etag(held),
            fingerprint=fingerprint(held.content),
            content=held.content,
            size=len(held.content.value),
            expires_at=held.expires_at,
            mark=held.mark,
            locked=held.locked,
        )

    def _etag(self, held: StoredEntry) -> str | None:
        if self.capabilities.compare_and_set:
            return str(held.version)
        value = held.content.value
        return f"{len(value)}:{blake2b(value, digest_size=8).hexdigest()}" if self.lists_sizes else None

    def _listed_deep(self, identity: Identity, held: StoredEntry) -> Actual:
        return replace(self._actual(identity, held), content=None, fingerprint=None)

    def _listed(self, identity: Identity, held: StoredEntry) -> Actual:
        """An entry in a listing. If listings have no values, its fingerprint is the one in the mark, right or wrong."""
        entry = self._actual(identity, held)
        if self.lists_sizes:
            return replace(entry, etag=str(entry.size), content=None, fingerprint=None)
        if self.capabilities.values_in_listing:
            return entry
        return replace(entry, content=None, fingerprint=held.mark.fingerprint if held.mark is not None else None)
