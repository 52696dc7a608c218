"""The command `kvsync release`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import click

from kvsync.cli import open as opening
from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit


@command(
    "release",
    short_help="Give up ownership of a target: marks are removed, entries stay.",
    examples=("release local/web --dry-run", "release local/web --yes", "release edge --key 'promo/*' --yes"),
    exits=(Exit.DONE, Exit.ERROR, Exit.PARTIAL, Exit.REFUSED, Exit.LOCKED),
)
@click.argument("targets", metavar="STORE[/NS]...", nargs=-1, required=True)
@options.keys
@options.yes
@options.dry_run
@options.output("text", "json", "markdown")
@options.full
def release(settings: GlobalOptions, targets: tuple[str, ...], **chosen: Any) -> Exit:
    """Remove kvsync's marks from everything that it owns in a target, and forget the target in the ledgers, in the state
    directory and in the store. Values, labels, tags and lifetimes that the store keeps stay as they are; entries of others are
    not touched. The target need not be in the files any more.

    The plan is shown first. Remove the entries from the files before: kvsync apply adopts equal ones again.
    """
    return opening.run(_release(settings, _Request(targets, **chosen)))


@dataclass(frozen=True, slots=True)
class _Request:
    """What to release, and how to answer."""

    targets: tuple[str, ...]
    keys: tuple[str, ...]
    yes: bool
    dry_run: bool
    output: str
    full: bool


async def _release(settings: GlobalOptions, request: _Request) -> Exit:
    from kvsync.app.release import plan_release
    from kvsync.app.saved_plan import SelectedPlan
    from kvsync.cli.apply_plan import ApplyRequest, carry_out
    from kvsync.cli.confirm import insist_on_terminal
    from kvsync.cli.failure import say_problems
    from kvsync.cli.progress import progress
    from kvsync.cli.rendered import OutputOptions, show_plan

    if not request.dry_run:
        insist_on_terminal("release", yes=request.yes)
    forms, style = OutputOptions(request.output), settings.style(full=request.full)
    async with opening.workspace(settings, writing=None if request.dry_run else "release") as workspace:
        loaded = workspace.load()
        if loaded.problems:
            say_problems(loaded.problems)
        with progress("planning"):
            plan = await plan_release(workspace, loaded, request.targets, request.keys)
        if request.dry_run:
            show_plan(plan, (), workspace.state.seal, forms, style)
            return Exit.DONE
        order = ApplyRequest("release", forms, style, asks=not request.yes, tells=settings.tells)
        return await carry_out(workspace, replace(loaded, problems=()), SelectedPlan(plan), order)
