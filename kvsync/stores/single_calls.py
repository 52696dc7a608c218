"""Base class of remote stores whose API reads and writes one entry a call."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TypeVar

from kvsync.model.entry import Actual, Identity
from kvsync.stores.base import Write, WriteResult, WriteStatus
from kvsync.stores.limits import check_batch
from kvsync.stores.partial import ReadFailures
from kvsync.stores.remote_store import ApiClient, RemoteStore

_Remote = TypeVar("_Remote", bound=ApiClient)


class SingleCallStore(RemoteStore[_Remote]):
    """Reads entries with concurrent calls, and writes one. `capabilities.batch` must be 1."""

    @abstractmethod
    async def _read_one(self, namespace: str, identity: Identity, name: str) -> Actual | None:
        """The entry under the remote key `name`, with its value; None if there is none. Raises StoreError; EntryDamaged and
        EntryUnreadable if other entries may be readable."""

    @abstractmethod
    async def _write_one(self, namespace: str, name: str, write: Write) -> WriteResult:
        """Write or delete the entry under the remote key `name`. Raises StoreError."""

    async def read(self, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        """These entries with their values, with a call for each. Names that no key can have are left out."""
        from kvsync.util.concurrency import gather_or_cancel

        failures = ReadFailures()
        reads = [
            failures.note(identity, self._read_one(namespace, identity, name))
            for identity, name in self._named(namespace, identities).items()
        ]
        found = await gather_or_cancel(reads)
        return failures.check({actual.identity: actual for actual in found if actual is not None})

    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """One write by one call."""
        check_batch(self._where(namespace), writes, self.capabilities)
        (write,) = writes
        try:
            name = self._checked(namespace, write.identity, write.content)
        except ValueError as problem:
            return [WriteResult(WriteStatus.REJECTED, error=str(problem))]
        return [await self._write_one(namespace, name, write)]
