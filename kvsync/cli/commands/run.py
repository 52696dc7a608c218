"""The command `kvsync run`."""

from __future__ import annotations

import os
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING

import click

from kvsync.cli import open as opening
from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit, of_once, worst
from kvsync.cli.output import say
from kvsync.errors import SourceError, UsageError

if TYPE_CHECKING:
    from kvsync.app import Workspace
    from kvsync.app.reconciler import WorkspaceReconciler
    from kvsync.config.model import RunConfig
    from kvsync.daemon.signals import SignalInbox
    from kvsync.leader.elector import Elector
    from kvsync.model.shard import Shard


@command(
    "run",
    short_help="Run the daemon: keep the stores in sync with the files.",
    examples=("run", "run --once", "run --observe", "--log-format json run"),
    exits=(Exit.DONE, Exit.ERROR, Exit.PARTIAL, Exit.REFUSED, Exit.LOCKED),
    level="info",
)
@click.option("--once", is_flag=True, help="Make one pass over all targets and exit.")
@click.option("--observe", is_flag=True, help="Never write; only report pending changes and drift.")
@click.option("--deep", is_flag=True, help="With --once: read every value, even where the listing has fingerprints.")
@options.shard
def run(settings: GlobalOptions, once: bool, observe: bool, deep: bool, shard: Shard | None) -> Exit:
    """Run the daemon. It reconciles when a file changes, on a schedule, when an entry must be renewed, and on request. It
    logs one event per fact to stderr.

    SIGHUP reloads the configuration, SIGUSR1 starts a pass over all targets, SIGTERM and Ctrl-C stop the daemon after the batch
    in flight. Use kvsync status, approve, pause and resume to control it.

    With run.lease you can run several replicas: the replica that holds the lease applies changes, the others only plan.
    """
    if deep and not once:
        raise UsageError("--deep needs --once; to make the daemon read every value, set run.deep_every")
    return opening.run(_run(settings, shard, once=once, observe=observe, deep=deep))


async def _run(settings: GlobalOptions, shard: Shard | None, *, once: bool, observe: bool, deep: bool) -> Exit:
    from kvsync.app.leadership import leading
    from kvsync.app.reconciler import WorkspaceReconciler
    from kvsync.daemon.signals import TRIGGER_OF_SIGNAL, SignalInbox
    from kvsync.tracing.export import exporting

    inbox = SignalInbox(() if once else TRIGGER_OF_SIGNAL)
    write_as = None if observe else "run"
    with inbox.open():
        async with opening.workspace(settings, writing=write_as, shard=shard, fetches=False) as workspace:
            context = workspace.pass_context
            reconciler = WorkspaceReconciler(workspace, context, os.environ, environment=settings.environment)
            traces = exporting(workspace.config.run.tracing, os.environ)
            # An observer takes no part in the election, because it could not lead.
            async with traces, nullcontext() if observe else leading(workspace, os.environ) as elector:
                if once:
                    missed = not settings.offline and await _fetch(reconciler, workspace)
                    done = await _once(workspace, reconciler, elector, observe=observe, deep=deep)
                    return worst((done, Exit.ERROR)) if missed else done
                return await _for_ever(workspace, reconciler, elector, inbox, observe=observe)


async def _once(
    workspace: Workspace, reconciler: WorkspaceReconciler, elector: Elector | None, *, observe: bool, deep: bool
) -> Exit:
    from kvsync.app.leadership import leading_now
    from kvsync.daemon.once import run_once

    recorder, settings = workspace.state.passes, workspace.config.run
    async with leading_now(elector):
        result = await run_once(
            reconciler, recorder, settings, observe=observe, deep=deep, clock=workspace.clock, leadership=elector
        )
    return of_once(result, observe=observe)


async def _fetch(reconciler: WorkspaceReconciler, workspace: Workspace) -> bool:
    """Look for the newest commit. Returns whether the pass must do with an older one. Raises SourceError when there is none."""
    checkout = workspace.checkout
    try:
        await reconciler.fetch()
    except SourceError as error:
        if checkout is None or checkout.commit is None:
            raise
        say(f"kvsync: {error}; continuing with commit {checkout.commit[:12]}")
        return True
    return checkout is not None and checkout.refused is not None


async def _for_ever(
    workspace: Workspace,
    reconciler: WorkspaceReconciler,
    elector: Elector | None,
    inbox: SignalInbox,
    *,
    observe: bool,
) -> Exit:
    from kvsync.app.monitoring import Serving, herald_of
    from kvsync.daemon.loop import Daemon
    from kvsync.logs import in_background

    reconciler.follow_files()
    herald = herald_of(workspace, os.environ)
    serving = Serving(workspace, reconciler, os.environ, observe=observe)

    async def reload(run: RunConfig) -> None:
        await serving.reload(run)
        await herald.reload(run)

    daemon = Daemon(
        reconciler,
        workspace.state.passes,
        workspace.config.run,
        remote=reconciler,
        observe=observe,
        control_dir=workspace.state.control_dir,
        clock=workspace.clock,
        observers=[serving.collector, herald],
        on_reload=reload,
        leadership=elector,
        inbox=inbox,
    )
    told = herald.telling(workspace.config.run)
    with in_background():
        async with aclosing(reconciler), serving.serving(daemon.trigger, workspace.config.run), told:
            result = await daemon.run()
    return Exit.ERROR if result.unfinished else Exit.DONE
