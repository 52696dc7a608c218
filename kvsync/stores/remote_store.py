"""Base class of stores with a remote API: they connect on first use."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from kvsync.config.model import StoreConfig
from kvsync.errors import StoreError
from kvsync.model.entry import Content, Identity
from kvsync.model.health import DoctorCheck
from kvsync.stores.base import Store, StoreContext
from kvsync.stores.limits import check_entry


class ApiClient(Protocol):
    """What speaks to the service."""

    async def aclose(self) -> None:
        """Close the connections, and what else is open. Idempotent."""


_Remote = TypeVar("_Remote", bound=ApiClient)


class RemoteStore(Store, Generic[_Remote]):
    """A store whose remote side is a `_Remote`, which lives from the first call until `aclose`."""

    def __init__(self, config: StoreConfig, context: StoreContext) -> None:
        super().__init__(config, context)
        self._remote: _Remote | None = None

    @abstractmethod
    def _connect(self, most: int) -> _Remote:
        """The remote side, which takes `most` calls at a time. What it needs is imported here: working offline need not pay for
        it. Raises StoreError for a credential that cannot be read."""

    @abstractmethod
    async def _examine(self, remote: _Remote) -> Sequence[DoctorCheck]:
        """What `check` finds. Raises StoreError for a credential that cannot be used."""

    async def check(self) -> Sequence[DoctorCheck]:
        """What the store's own doctor finds, distinguished."""
        try:
            return await self._examine(self._client())
        except StoreError as error:
            return [DoctorCheck("credential", False, str(error))]

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        remote, self._remote = self._remote, None
        if remote is not None:
            await remote.aclose()

    def _client(self) -> _Remote:
        if self._remote is None:
            self._remote = self._connect(self.config.concurrency or self.capabilities.concurrency)
        return self._remote

    def _checked(self, namespace: str, identity: Identity, content: Content | None = None) -> str:
        """The remote key of an entry. Raises ValueError, with the reason, for one that the store cannot hold."""
        name = self.remote_key(namespace, identity)
        check_entry(name, content, self.capabilities)
        return name

    def _name(self, namespace: str, identity: Identity) -> str | None:
        """The remote key of an entry, None for one that the store cannot hold."""
        try:
            return self._checked(namespace, identity)
        except ValueError:
            return None
