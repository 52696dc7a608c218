"""Renames a namespace in place, for stores that can and whose configuration allows it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from kvsync.app.workspace import Workspace
from kvsync.errors import PermanentError, TransientError
from kvsync.model.entry import Target
from kvsync.model.place import LocatedTarget, Place
from kvsync.model.plan import NAMESPACES_RENAMED, TargetPlan
from kvsync.reconcile import empty_plan
from kvsync.state import RunCause
from kvsync.stores.base import Store
from kvsync.stores.extensions import NamespaceRenaming, has_extension


@dataclass(frozen=True, slots=True)
class NamespaceRename:
    """What `source` leads to gets the name of `target`. Marks, ledgers and history are kept by `place`, which stays."""

    source: Target
    target: Target
    place: Place

    def __str__(self) -> str:
        """What is done, for people."""
        return f"renamed to {self.target.namespace}; its id and all of its entries stay (rename_namespaces)"

    def plan(self, workspace: Workspace) -> TargetPlan:
        """The plan, which changes no entry."""
        located = LocatedTarget(self.target, self.place)
        plan = empty_plan(workspace.state.digest_key, located, self.place.type)
        return replace(plan, notes=(f"{self.source}: {self}",))

    async def carry_out(self, workspace: Workspace) -> str:
        """Rename it. Returns the id of the run. Raises StoreError, StateDirError."""
        run = workspace.state.journal.begin(RunCause("transfer", environment=workspace.config.environment))
        renamed = 0
        try:
            await self._rename(workspace.stores[self.target.store])
            renamed = 1
        finally:
            run.finish({NAMESPACES_RENAMED: renamed})
        return run.id

    async def _rename(self, store: Store) -> None:
        renaming = cast("NamespaceRenaming", store)
        try:
            keeps = await renaming.rename_namespace(self.source.namespace, self.target.namespace, self.place)
        except TransientError:  # the request may have arrived without its response
            if not await self._is_done(store):
                raise
            return
        if keeps is not None:
            raise PermanentError(f"{self.source}: the namespace was not renamed: {keeps}")

    async def _is_done(self, store: Store) -> bool:
        names = await store.namespaces()
        return self.target.namespace in names and self.source.namespace not in names


async def find_rename(workspace: Workspace, source: Target, target: Target) -> NamespaceRename | None:
    """The rename that makes copying entries unnecessary. None if the store cannot rename the namespace, if it is not there, or
    if there is one with the new name already. Raises StoreError."""
    store = workspace.stores[target.store]
    if source.store != target.store or not has_extension(store, NamespaceRenaming):
        return None
    if not cast("NamespaceRenaming", store).can_rename(source.namespace, target.namespace):
        return None
    names = await store.namespaces()
    if source.namespace not in names or target.namespace in names:
        return None
    return NamespaceRename(source, target, await workspace.find_place(source))
