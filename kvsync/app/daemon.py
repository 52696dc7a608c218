"""The daemon wired to a workspace: election, tracing, status server and notifications around its loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from kvsync.app.fleet import CommandShare, command_lease, fleet_of
from kvsync.app.leadership import leading, leading_now
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.app.workspace import Workspace
from kvsync.daemon.once import OnceResult, run_once
from kvsync.daemon.parts import DaemonOptions
from kvsync.daemon.signals import TRIGGER_OF_SIGNAL, SignalInbox
from kvsync.errors import SourceError
from kvsync.leader.elector import Elector
from kvsync.leader.fleet import Fleet
from kvsync.model.result import Trigger
from kvsync.tracing.export import exporting

if TYPE_CHECKING:
    from kvsync.config.model import RunConfig

__all__ = ["OnceResult", "WiredDaemon", "opened_daemon", "signals_kept"]


@contextmanager
def signals_kept(*, once: bool) -> Iterator[SignalInbox]:
    """Keep the signals for the daemon that arrive while it starts."""
    inbox = SignalInbox(() if once else TRIGGER_OF_SIGNAL)
    with inbox.open():
        yield inbox


@asynccontextmanager
async def opened_daemon(
    workspace: Workspace, inbox: SignalInbox, environment: str | None, *, observe: bool
) -> AsyncIterator[WiredDaemon]:
    """A daemon that takes part in the election, if there is one, until the end of the block. Raises KvsyncError."""
    reconciler = WorkspaceReconciler(workspace, workspace.pass_context, os.environ, environment=environment)
    traces = exporting(workspace.config.run.tracing, os.environ)
    # An observer takes no part in the election, because it could not lead.
    async with traces, nullcontext() if observe else leading(workspace, os.environ) as elector:
        yield WiredDaemon(workspace, reconciler, elector, inbox, observe=observe)


def _join_fleet(workspace: Workspace, reconciler: WorkspaceReconciler) -> Fleet | None:
    """This daemon's part among those that share its state; None where it has its own."""
    if workspace.state.claims is None:
        return None
    workspace.state.database.stay_connected()
    fleet = fleet_of(workspace.state.claims, workspace.clock, workspace.pass_context.fence)
    reconciler.share, fleet.is_busy = fleet, reconciler.is_busy
    fleet.revision = lambda: reconciler.revision
    return fleet


class WiredDaemon:
    """Keeps the stores of a workspace in sync with its files; with `observe` it writes nothing."""

    def __init__(
        self,
        workspace: Workspace,
        reconciler: WorkspaceReconciler,
        elector: Elector | None,
        inbox: SignalInbox,
        *,
        observe: bool,
    ) -> None:
        self._workspace, self._reconciler, self._elector = workspace, reconciler, elector
        self._inbox, self._observe = inbox, observe

    async def fetch(self, say: Callable[[str], None]) -> bool:
        """Look for the newest commit. Returns whether the pass must do with an older one. Raises SourceError when there is
        none."""
        checkout = self._workspace.checkout
        try:
            await self._reconciler.fetch()
        except SourceError as error:
            if checkout is None or checkout.commit is None:
                raise
            say(f"kvsync: {error}; continuing with commit {checkout.commit[:12]}")
            return True
        return checkout is not None and checkout.refused is not None

    async def run_once(self, *, deep: bool) -> OnceResult:
        """Make one pass over all targets. Raises LeaseHeld, KvsyncError."""
        workspace = self._workspace
        async with leading_now(self._elector), self._claiming():
            return await run_once(
                self._reconciler,
                workspace.state.passes,
                workspace.config.run,
                DaemonOptions(
                    observe=self._observe, clock=workspace.clock, leadership=self._elector, candidate=self._elector
                ),
                deep=deep,
            )

    @asynccontextmanager
    async def _claiming(self) -> AsyncIterator[None]:
        """Inside, a single pass works on every target that no other replica holds."""
        claims = self._workspace.state.claims
        if claims is None:
            yield
            return
        self._reconciler.share = CommandShare(claims)
        async with command_lease(claims, self._workspace.clock, self._workspace.pass_context.fence):
            yield

    async def run(self) -> bool:
        """Run until a signal stops it. Returns whether every batch in flight was finished. Raises KvsyncError."""
        from kvsync.app.monitoring import Serving, notifier_of
        from kvsync.daemon.loop import Daemon
        from kvsync.logs import in_background

        workspace, settings = self._workspace, self._workspace.config.run
        self._reconciler.follow_files()
        notifier = notifier_of(workspace, os.environ)
        serving = Serving(workspace, self._reconciler, os.environ, observe=self._observe)

        async def reload(run: RunConfig) -> None:
            await serving.reload(run)
            await notifier.reload(run)

        fleet = _join_fleet(workspace, self._reconciler)
        leadership, revisions = fleet or self._elector, workspace.revisions
        if leadership is not None and revisions is not None:
            leadership.superseded_by = lambda: revisions.superseded_by(self._reconciler.revision)
        loop = Daemon(
            self._reconciler,
            workspace.state.passes,
            settings,
            DaemonOptions(
                remote=self._reconciler,
                stores=self._reconciler,
                undo=self._reconciler,
                observe=self._observe,
                control_dir=workspace.state.control_dir,
                clock=workspace.clock,
                observers=[serving.collector, notifier],
                on_reload=reload,
                leadership=leadership,
                candidate=self._elector,
                inbox=self._inbox,
            ),
        )
        serving.collector.backlog = lambda: loop.backlog
        if self._elector is not None and self._elector.division is not None:
            self._elector.division.changed = loop.report
        if fleet is not None:
            fleet.changed, fleet.woken = partial(loop.trigger, Trigger.FILES), partial(loop.trigger, Trigger.WAKE)
        notifications = notifier.sending(settings)
        events = asyncio.get_running_loop()

        def woken() -> None:
            events.call_soon_threadsafe(loop.trigger, Trigger.WAKE)

        with in_background(), workspace.state.listening(woken):
            async with aclosing(self._reconciler), serving.serving(loop, settings), notifications:
                result = await loop.run()
        return not result.unfinished
