"""Base class of stores that wrap another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kvsync.model.entry import Actual, Content, Entry, Identity
from kvsync.model.health import DoctorCheck
from kvsync.model.place import Place
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Store, Write, WriteResult
from kvsync.stores.extensions import MEMBERS, has_extension

if TYPE_CHECKING:
    from kvsync.model.snapshot import Snapshot


class StoreWrapper(Store):
    """Passes all calls to the wrapped store.

    It has the extensions (`kvsync.stores.extensions`) of the wrapped store: their members become attributes of the wrapper,
    except those that its class defines.
    """

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.config, self.context = inner.config, inner.context
        self.capabilities, self.traffic = inner.capabilities, inner.traffic
        self.overridden = inner.overridden
        for extension, members in MEMBERS.items():
            if has_extension(inner, extension):
                self._take_over(members)

    def _take_over(self, members: frozenset[str]) -> None:
        for name in members:
            if not hasattr(type(self), name):
                setattr(self, name, getattr(self._inner, name))

    def normalise(self, content: Content) -> Content:
        """Call the wrapped store."""
        return self._inner.normalise(content)

    def remote_key(self, namespace: str, identity: Identity) -> str:
        """Call the wrapped store."""
        return self._inner.remote_key(namespace, identity)

    def audit(self, namespace: str, entry: Entry) -> Sequence[str]:
        """Call the wrapped store."""
        return self._inner.audit(namespace, entry)

    def place(self, namespace: str) -> Place:
        """Call the wrapped store."""
        return self._inner.place(namespace)

    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        """Call the wrapped store."""
        return await self._inner.observe(namespace, signer, token)

    async def read(self, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        """Call the wrapped store."""
        return await self._inner.read(namespace, identities)

    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Call the wrapped store."""
        return await self._inner.write(namespace, writes)

    async def namespaces(self) -> Sequence[str]:
        """Call the wrapped store."""
        return await self._inner.namespaces()

    async def check(self) -> Sequence[DoctorCheck]:
        """Call the wrapped store."""
        return await self._inner.check()

    async def aclose(self) -> None:
        """Close the wrapped store."""
        await self._inner.aclose()
