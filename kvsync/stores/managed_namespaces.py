"""Creation, deletion and renaming of namespaces, for stores with a web API whose configuration allows it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kvsync.config.model import StoreConfig
from kvsync.model.key_format import KeyFormat
from kvsync.model.place import Place
from kvsync.yaml.fields import Field, boolean

if TYPE_CHECKING:
    from kvsync.stores.namespaces import NamespaceResolver


def namespace_options(kind: str) -> tuple[Field, ...]:
    """The options of a store that can create, delete and rename namespaces. `kind` is what the service calls them, plural."""
    return (
        Field("create_namespaces", boolean(), default=False, help=f"Create {kind} that do not exist."),
        Field(
            "delete_namespaces",
            boolean(),
            default=False,
            help="Delete namespaces that kvsync has emptied (`keys: {}`); needs `create_namespaces`.",
        ),
        Field(
            "rename_namespaces",
            boolean(),
            default=False,
            help="Let `kvsync transfer --from-namespace` rename a namespace instead of copying its entries.",
        ),
    )


class ManagedNamespaces(ABC):
    """Mixin for a `RemoteStore` whose namespaces are found by a `NamespaceResolver`. It deletes and renames them if the
    configuration allows it (`namespace_options`)."""

    config: StoreConfig
    _keys: KeyFormat

    @abstractmethod
    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        """As in `kvsync.stores.extensions.PlaceResolving`."""

    @abstractmethod
    async def _resolver(self) -> NamespaceResolver[Any]:
        """The resolver of the connection. Raises StoreError."""

    @abstractmethod
    async def _is_empty(self, namespace: str) -> bool:
        """True if a listing of the namespace shows nothing, except the ledger if the store keeps it. Raises StoreError."""

    @abstractmethod
    def _why_fixed(self, namespace: str) -> str | None:
        """Why the configuration fixes what this name leads to, so that it is neither deleted nor renamed; None if it does not.
        Pure."""

    @property
    def deletes_namespaces(self) -> bool:
        """Whether the configuration allows to delete namespaces."""
        return bool(self.config.options.get("delete_namespaces"))

    async def namespaces(self) -> Sequence[str]:
        """The names of the account's namespaces."""
        return await (await self._resolver()).names()

    def why_namespace_stays(self, namespace: str) -> str | None:
        """Why a namespace is not deleted: kvsync could not create it again, or does not see all of its keys."""
        if (why := self._why_fixed(namespace)) is not None:
            return why
        if not self.config.options.get("create_namespaces"):
            return "delete_namespaces needs create_namespaces: true, so that kvsync can create it again"
        return None if self._keys.is_plain else "with this key_format kvsync does not see all of its keys"

    def can_rename(self, namespace: str, name: str) -> bool:
        """True with `rename_namespaces`, for names that are not part of keys."""
        is_allowed = bool(self.config.options.get("rename_namespaces")) and self._keys.is_plain
        return is_allowed and self._why_fixed(namespace) is None and self._why_fixed(name) is None

    async def delete_namespace(self, namespace: str, place: Place) -> str | None:
        """Look the name up again, list what it leads to, and delete that by its id. Returns why it stays, None once it is gone.
        Raises StoreError."""
        resolver = await self._resolver()
        found = await resolver.resolve_again(namespace)
        if found is None:
            return await resolver.why_not_gone(namespace)
        if (await self.locate(namespace)).key != place.key:
            return f"its name now resolves to a different {resolver.kind}"
        if (why := await resolver.why_not_creatable()) is not None:
            return f"kvsync could not create it again: {why}"
        if not await self._is_empty(namespace):
            return "it holds entries"
        return await resolver.delete(namespace, found)

    async def rename_namespace(self, namespace: str, name: str, place: Place) -> str | None:
        """Look both names up again, and rename what the first one leads to by its id. Returns why it keeps its name, None once
        it is renamed. Raises StoreError."""
        resolver = await self._resolver()
        found = await resolver.resolve_again(namespace)
        if found is None or (await self.locate(namespace)).key != place.key:
            return f"its name now resolves to a different {resolver.kind}"
        if name in await resolver.names():
            return f'there is a {resolver.kind} "{name}" already'
        await resolver.rename(namespace, found, name)
        return None
