"""The command `kvsync run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kvsync.cli import open as opening
from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit, of_once, worst
from kvsync.cli.output import print_message
from kvsync.errors import UsageError

if TYPE_CHECKING:
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
async def run(settings: GlobalOptions, once: bool, observe: bool, deep: bool, shard: Shard | None) -> Exit:
    """Run the daemon. It reconciles when a file changes, on a schedule, when an entry must be renewed, and on request. It logs
    each event to stderr.

    SIGHUP reloads the configuration, SIGUSR1 starts a pass over all targets, and SIGTERM or Ctrl-C stops the daemon after the
    batch in flight. Use kvsync status, approve, pause and resume to control it.

    With run.lease, you can run several replicas: the replica that holds the lease applies changes, the others only plan.
    """
    if deep and not once:
        raise UsageError("--deep needs --once; to make the daemon read every value, set run.deep_every")
    from kvsync.app.daemon import opened_daemon, signals_kept

    write_as = None if observe else "run"
    with signals_kept(once=once) as inbox:
        opened = opening.workspace(settings, writing=write_as, shard=shard, fetches=False)
        async with (
            opened as workspace,
            opened_daemon(workspace, inbox, settings.environment, observe=observe) as daemon,
        ):
            if not once:
                return Exit.DONE if await daemon.run() else Exit.ERROR
            missed = not settings.offline and await daemon.fetch(print_message)
            done = of_once(await daemon.run_once(deep=deep), observe=observe)
            return worst((done, Exit.ERROR)) if missed else done
