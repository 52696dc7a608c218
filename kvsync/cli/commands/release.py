"""The command `kvsync release`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from kvsync.cli import completing, options
from kvsync.cli import open as opening
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.one_time import OneTimeChange


@command(
    "release",
    short_help="Give up ownership of a target: remove the marks, keep the entries.",
    examples=("release local/web --dry-run", "release local/web --yes", "release edge --key 'promo/*' --yes"),
    exits=(Exit.DONE, Exit.ERROR, Exit.PARTIAL, Exit.REFUSED, Exit.LOCKED),
)
@click.argument("targets", metavar="STORE[/NS]...", nargs=-1, required=True, shell_complete=completing.targets)
@options.keys
@options.one_time_change
async def release(settings: GlobalOptions, targets: tuple[str, ...], **chosen: Any) -> Exit:
    """Remove kvsync's marks from everything that it owns in a target, and remove the target from the ledgers in the state
    directory and in the store. Values, labels, tags and lifetimes stay as they are; entries of others are not changed. The
    target need not be in the files any more.

    The plan is shown first. Remove the entries from the files before you release them: kvsync apply adopts equal ones again.
    """
    change = OneTimeChange.taken_from(chosen, settings, "release")
    return await _release(change, targets, **chosen)


async def _release(change: OneTimeChange, targets: tuple[str, ...], keys: tuple[str, ...]) -> Exit:
    from kvsync.app.release import plan_release
    from kvsync.cli.failure import print_problems
    from kvsync.cli.progress import progress

    async with change.workspace() as workspace:
        loaded = workspace.load()
        if loaded.problems:
            print_problems(loaded.problems)
        with progress("planning"):
            plan = await plan_release(workspace, loaded, targets, keys)
        opening.print_unmatched(loaded, plan, keys)
        return await change.carry_out(workspace, replace(loaded, problems=()), plan)
