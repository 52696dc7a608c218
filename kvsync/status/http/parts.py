"""Dependencies of the HTTP routes: state, status collector, access rules, and actions of the daemon."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from kvsync.model.entry import Target
from kvsync.planning.deletion_limit import DeletionBudget
from kvsync.state import StateDir
from kvsync.status.collector import Collector
from kvsync.status.http.access import Access
from kvsync.status.http.hook_handler import HookHandler
from kvsync.status.plan_views import UndoView
from kvsync.util.clock import Clock
from kvsync.util.redaction import Redactor


class UndoService(Protocol):
    """Previews and requests an undo of a run, or of all runs of a commit."""

    async def preview(self, run: str, commit: str) -> UndoView:
        """What would be undone. Raises KvsyncError."""
        ...

    async def submit(self, run: str, commit: str, digest: str) -> str:
        """Request exactly what was shown under this digest; returns what was requested, in words. Raises KvsyncError."""
        ...


@dataclass(frozen=True, slots=True)
class AppParts:
    """Dependencies of all routes. `stores` are the names of the configured stores, `wake` makes the daemon read pauses and
    approvals again, `budget` returns how many entries may still be deleted, `request_pass` requests a pass of one target (False
    if this process makes none of it), `undo` undoes runs."""

    collector: Collector
    state: StateDir
    access: Access
    hook: HookHandler
    clock: Clock
    redactor: Redactor
    stores: Callable[[], Collection[str]]
    wake: Callable[[], None]
    budget: Callable[[], DeletionBudget]
    request_pass: Callable[[Target], bool]
    undo: UndoService | None = None
