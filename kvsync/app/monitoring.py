"""Status server and notifier of the daemon, wired to its workspace. Their libraries are imported only if `run.listen` or
`run.notify` is set.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

from kvsync import __version__
from kvsync.app import Workspace
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.app.undo.service import WorkspaceUndoService
from kvsync.config.credentials import resolve
from kvsync.config.model import RunConfig
from kvsync.errors import KvsyncError
from kvsync.model.entry import Target
from kvsync.model.result import Trigger
from kvsync.notify.message import Sender
from kvsync.notify.notifier import Notifier, NotifierContext
from kvsync.state import StateDir
from kvsync.status.collector import Collector
from kvsync.status.snapshot import ProcessView
from kvsync.status.target_reports import CollectorSettings
from kvsync.util.background import start_thread

if TYPE_CHECKING:
    from kvsync.status.http.server import Server


class PassTriggers(Protocol):
    """What requests passes: the daemon."""

    def trigger(self, trigger: Trigger) -> None:
        """Report that something happened which every target may concern."""
        ...

    def request_pass(self, target: Target) -> bool:
        """Request a pass of one target. False if this daemon makes no passes of it."""
        ...


class Serving:
    """Collects from the start, and serves whenever the settings say so."""

    def __init__(
        self, workspace: Workspace, reconciler: WorkspaceReconciler, environ: Mapping[str, str], *, observe: bool
    ) -> None:
        self._workspace, self._reconciler, self._environ = workspace, reconciler, environ
        config, clock = workspace.config, workspace.clock
        mode = "observe" if observe else "apply"
        process = ProcessView(os.getpid(), __version__, mode, clock.now(), config.owner, config.environment)
        settings = CollectorSettings(process, workspace.state, clock, workspace.redactor.redact)
        self.collector = Collector(settings, reconciler)
        self._triggers: PassTriggers | None = None
        self._server: Server | None = None
        self._open = AsyncExitStack()

    @asynccontextmanager
    async def serving(self, triggers: PassTriggers, run: RunConfig) -> AsyncIterator[None]:
        """Serve as the settings say until the end of the block, or until the daemon begins to leave. Raises KvsyncError when
        it cannot listen, or cannot read the token."""
        self._triggers = triggers
        async with self._open:
            if run.listen is not None:
                await (await self._serve()).use(run)
            yield

    async def reload(self, run: RunConfig) -> None:
        """Serve as changed settings say; where that cannot be, it is logged, and all stays as it was."""
        if run.listen is not None or self._server is not None:
            await (await self._serve()).reuse(run)

    async def _serve(self) -> Server:
        from kvsync.status.http.access import Access
        from kvsync.status.http.hook_handler import HookHandler
        from kvsync.status.http.parts import AppParts
        from kvsync.status.http.server import Server, closing

        if self._server is None:
            triggers = self._triggers
            assert triggers is not None, "nothing is served before the daemon is there"
            workspace, access = self._workspace, Access(self._workspace.clock)
            hook = HookHandler(access, workspace.clock, partial(triggers.trigger, Trigger.HOOK), self.collector.hooked)
            wake = partial(_wake, triggers.trigger, workspace.state)
            redactor = workspace.redactor
            stores = self._reconciler.store_names
            budget = self._reconciler.deletion_budget
            undo = WorkspaceUndoService(self._reconciler, wake)
            parts = AppParts(
                self.collector,
                workspace.state,
                access,
                hook,
                workspace.clock,
                redactor,
                stores,
                wake,
                budget,
                triggers.request_pass,
                undo,
            )
            secrets = partial(resolve, config_root=workspace.config.root, environ=self._environ, redactor=redactor)
            self._server = await self._open.enter_async_context(closing(Server(parts, secrets)))
        return self._server


def _wake(trigger: Callable[[Trigger], None], state: StateDir) -> None:
    """Let this daemon, and the replicas that share its state, look at what a person decided."""
    trigger(Trigger.WAKE)
    if state.is_shared:
        start_thread(partial(_wake_others, state))


def _wake_others(state: StateDir) -> None:
    with suppress(KvsyncError):  # they poll, too
        state.wake()


def notifier_of(workspace: Workspace, environ: Mapping[str, str]) -> Notifier:
    """The notifier of the daemon of a workspace."""
    config, redactor = workspace.config, workspace.redactor
    read = partial(resolve, config_root=config.root, environ=environ, redactor=redactor)
    return Notifier(
        NotifierContext(Sender(config.owner, config.environment), workspace.state, read, redactor, workspace.clock)
    )
