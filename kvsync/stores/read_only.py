"""Read-only wrapper of a store, used by `plan` and `drift`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from kvsync.errors import PermanentError
from kvsync.model.entry import Actual, Content, Entry, Identity, Snapshot
from kvsync.model.health import DoctorCheck
from kvsync.model.place import Place
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Store, Write, WriteResult


class ReadOnlyStore(Store):
    """Passes everything on to the store it wraps, except writes, which it refuses before anything is sent."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.config, self.context = inner.config, inner.context
        self.capabilities, self.traffic = inner.capabilities, inner.traffic
        self.overridden = inner.overridden
        self.keeps_ledger, self.ledger_chunk_bytes = inner.keeps_ledger, inner.ledger_chunk_bytes

    def normalise(self, content: Content) -> Content:
        """As the wrapped store does."""
        return self._inner.normalise(content)

    def remote_key(self, namespace: str, identity: Identity) -> str:
        """As the wrapped store does."""
        return self._inner.remote_key(namespace, identity)

    def audit(self, namespace: str, entry: Entry) -> Sequence[str]:
        """As the wrapped store does."""
        return self._inner.audit(namespace, entry)

    def nested_namespace(self, namespace: str, identity: Identity, others: Collection[str]) -> str | None:
        """As the wrapped store does."""
        return self._inner.nested_namespace(namespace, identity, others)

    def place(self, namespace: str) -> Place:
        """As the wrapped store does."""
        return self._inner.place(namespace)

    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        """As the wrapped store does, but never to write."""
        return await self._inner.locate(namespace)

    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        """As the wrapped store does."""
        return await self._inner.observe(namespace, signer, token)

    async def observe_deep(self, namespace: str, signer: MarkSigner) -> Snapshot | None:
        """As the wrapped store does."""
        return await self._inner.observe_deep(namespace, signer)

    def may_be_version(self, seen: str, known: str) -> bool:
        """As the wrapped store does."""
        return self._inner.may_be_version(seen, known)

    def redacted_etag(self, etag: str) -> str:
        """As the wrapped store does."""
        return self._inner.redacted_etag(etag)

    async def read(self, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        """As the wrapped store does."""
        return await self._inner.read(namespace, identities)

    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Refuse. Raises PermanentError always."""
        raise PermanentError(f"{namespace}: this command is read-only; nothing was written")

    async def read_ledger(self, namespace: str) -> bytes | None:
        """As the wrapped store does."""
        return await self._inner.read_ledger(namespace)

    async def write_ledger(self, namespace: str, ledger: bytes) -> None:
        """Refuse. Raises PermanentError always."""
        raise PermanentError(f"{namespace}: this command is read-only; the ledger was not changed")

    async def namespaces(self) -> Sequence[str]:
        """As the wrapped store does."""
        return await self._inner.namespaces()

    async def check(self) -> Sequence[DoctorCheck]:
        """As the wrapped store does."""
        return await self._inner.check()

    def quota_left(self) -> int | None:
        """As the wrapped store does."""
        return self._inner.quota_left()

    async def aclose(self) -> None:
        """Close the wrapped store."""
        await self._inner.aclose()
