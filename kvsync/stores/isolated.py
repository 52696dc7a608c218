"""Store wrapper that turns every exception into an error of its store, so that no other store is affected."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from kvsync.errors import KvsyncError, LostAnswer, StoreError, TransientError, UnexpectedError
from kvsync.logs import get_logger
from kvsync.model.entry import Actual, Identity
from kvsync.model.health import DoctorCheck
from kvsync.model.place import Place
from kvsync.planning.marks import MarkSigner
from kvsync.stores import extensions
from kvsync.stores.base import Write, WriteResult
from kvsync.stores.extensions import LedgerKeeping
from kvsync.stores.wrapper import StoreWrapper
from kvsync.util.shortage import shortage_of

if TYPE_CHECKING:
    from kvsync.model.snapshot import Snapshot

_log = get_logger()


class IsolatedStore(StoreWrapper):
    """Passes all calls to the wrapped store. An unexpected exception becomes a StoreError: a shortage of this machine a
    TransientError, anything else an UnexpectedError, which is logged with its traceback."""

    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        """Call the wrapped store."""
        with self._isolated("resolving", namespace):
            return await extensions.locate(self._inner, namespace, writing=writing)

    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        """Call the wrapped store."""
        with self._isolated("listing", namespace):
            return await self._inner.observe(namespace, signer, token)

    async def unchanged(self, tokens: Mapping[str, str]) -> Mapping[str, Place]:
        """Call the wrapped store."""
        with self._isolated("checking namespaces", ""):
            return await extensions.unchanged(self._inner, tokens)

    async def observe_deep(self, namespace: str, signer: MarkSigner) -> Snapshot | None:
        """Call the wrapped store."""
        with self._isolated("reading all of", namespace):
            return await extensions.observe_deep(self._inner, namespace, signer)

    async def scan(
        self, namespace: str, signer: MarkSigner, absent: Collection[Identity], present: Collection[Identity]
    ) -> Mapping[Identity, Actual] | None:
        """Call the wrapped store."""
        with self._isolated("scanning", namespace):
            return await extensions.scan(self._inner, namespace, signer, absent, present)

    async def read(self, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        """Call the wrapped store."""
        with self._isolated("reading entries of", namespace):
            return await self._inner.read(namespace, identities)

    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Call the wrapped store."""
        with self._isolated("writing to", namespace, writes=True):
            return await self._inner.write(namespace, writes)

    async def read_ledger(self, namespace: str) -> bytes | None:
        """Call the wrapped store."""
        with self._isolated("reading the ledger of", namespace):
            return await self._keeper.read_ledger(namespace)

    async def write_ledger(self, namespace: str, ledger: bytes) -> None:
        """Call the wrapped store."""
        with self._isolated("writing the ledger of", namespace, writes=True):
            await self._keeper.write_ledger(namespace, ledger)

    async def remove_ledger(self, namespace: str) -> None:
        """Call the wrapped store."""
        with self._isolated("removing the ledger of", namespace, writes=True):
            await self._keeper.remove_ledger(namespace)

    async def namespaces(self) -> Sequence[str]:
        """Call the wrapped store."""
        with self._isolated("listing the namespaces", ""):
            return await self._inner.namespaces()

    async def check(self) -> Sequence[DoctorCheck]:
        """Call the wrapped store."""
        try:
            with self._isolated("checking the store", ""):
                return await self._inner.check()
        except StoreError as error:
            return [DoctorCheck.of_error("reached", error)]

    @property
    def _keeper(self) -> LedgerKeeping:
        """The wrapped store. Called only if it keeps the ledger."""
        return cast("LedgerKeeping", self._inner)

    @contextmanager
    def _isolated(self, what: str, namespace: str, *, writes: bool = False) -> Iterator[None]:
        try:
            yield
        except KvsyncError:
            raise
        except Exception as error:
            from kvsync.http.failures import cleaned  # a local store does not pay for HTTP

            shortage = shortage_of(error)
            if isinstance(error, OSError) or shortage is not None:
                message = f"{self._failed(what, namespace)}: {cleaned(shortage or str(error)) or type(error).__name__}"
                raise (LostAnswer if writes else TransientError)(message) from error
            _log.error(
                "store.crashed",
                store=self.config.name,
                namespace=namespace,
                error=what,
                code=UnexpectedError.code,
                exc_info=True,
            )
            reason = cleaned(f"{type(error).__name__}: {error}")
            message = f"{self._failed(what, namespace)}: unexpected {reason}"
            raise UnexpectedError(f"{message}; this is a bug in kvsync; the log has the traceback") from error

    def _failed(self, what: str, namespace: str) -> str:
        return f"store {self.config.name}: {f'{what} {namespace}'.rstrip()} failed"
