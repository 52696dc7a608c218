"""Read-only wrapper of a store, used by `plan` and `drift`."""

from __future__ import annotations

from collections.abc import Sequence

from kvsync.errors import PermanentError
from kvsync.model.place import Place
from kvsync.stores import extensions
from kvsync.stores.base import Write, WriteResult
from kvsync.stores.wrapper import StoreWrapper


class ReadOnlyStore(StoreWrapper):
    """Refuses writes before anything is sent, and passes all other calls on."""

    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        """Locate for reading only."""
        return await extensions.locate(self._inner, namespace)

    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Refuse. Always raises PermanentError."""
        raise PermanentError(f"{namespace}: this command is read-only; nothing was written")

    async def delete_namespace(self, namespace: str, place: Place) -> str | None:
        """Refuse. Always raises PermanentError."""
        raise PermanentError(f"{namespace}: this command is read-only; the namespace was not deleted")

    async def rename_namespace(self, namespace: str, name: str, place: Place) -> str | None:
        """Refuse. Always raises PermanentError."""
        raise PermanentError(f"{namespace}: this command is read-only; the namespace was not renamed")

    async def begin_restore_point(self, namespace: str, run: str) -> str:
        """Refuse. Always raises PermanentError."""
        raise PermanentError(f"{namespace}: this command is read-only; no restore point was made")

    async def write_ledger(self, namespace: str, ledger: bytes) -> None:
        """Refuse. Always raises PermanentError."""
        raise PermanentError(f"{namespace}: this command is read-only; the ledger was not changed")

    async def remove_ledger(self, namespace: str) -> None:
        """Refuse. Always raises PermanentError."""
        raise PermanentError(f"{namespace}: this command is read-only; the ledger was not changed")
