"""Workspaces of a daemon: the one in force, and earlier ones that a pass still uses after the configuration changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from kvsync.app import Workspace
from kvsync.model.health import Traffic, total
from kvsync.status.snapshot import StoreView
from kvsync.stores.base import Store
from kvsync.stores.extensions import quota_left
from kvsync.util.waits import WAITS


class Workspaces:
    """Closes a workspace that was replaced once nothing uses it any more, and counts what all of them cost."""

    def __init__(self, first: Workspace) -> None:
        self.current = first
        self._users: Counter[Workspace] = Counter()
        self._closed: dict[str, Traffic] = {}

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[Workspace]:
        """Use the current workspace: it stays open until the end of the block, also if another one replaces it."""
        workspace = self.current
        self._users[workspace] += 1
        try:
            yield workspace
        finally:
            self._users[workspace] -= 1
            await self.release(workspace)

    def replace(self, workspace: Workspace) -> Workspace:
        """Use another workspace from now on. Returns the one before, which the caller must release."""
        old, self.current = self.current, workspace
        workspace.take_over(old)
        return old

    async def release(self, workspace: Workspace) -> None:
        """Close a workspace that was replaced, unless something still uses it."""
        if workspace is self.current or self._users[workspace]:
            return
        del self._users[workspace]
        for name, store in workspace.stores.items():
            self._closed[name] = total((self._closed.get(name), store.traffic))
        await workspace.aclose()

    @property
    def stores(self) -> tuple[StoreView, ...]:
        """What the configured stores have cost since this began, also under earlier configurations."""
        older = [workspace for workspace in self._users if workspace is not self.current]
        return tuple(self._view(name, store, older) for name, store in sorted(self.current.stores.items()))

    def _view(self, name: str, store: Store, older: Sequence[Workspace]) -> StoreView:
        others = [one.stores[name].traffic for one in older if name in one.stores]
        traffic = total((self._closed.get(name), *others, store.traffic))
        unnamed = traffic.requests - sum(traffic.by_status.values())
        requests = traffic.by_status | ({"none": unnamed} if unnamed > 0 else {})
        sizes = (traffic.bytes_sent, traffic.bytes_received)
        wait = WAITS.longest(f"store {name}")
        waiting = None if wait is None else str(wait)
        type_ = self.current.config.stores[name].type
        return StoreView(name, type_, requests, *sizes, quota_left(store), waiting=waiting)
