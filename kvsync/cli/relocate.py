"""Moves entries from a former place: the plan of `transfer --from-store` and the like, shown first, then applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvsync.cli import open as opening
from kvsync.cli.command import GlobalOptions
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import say

if TYPE_CHECKING:
    from kvsync.app.relocation import FormerPlace


@dataclass(frozen=True, slots=True)
class RelocationRequest:
    """Where the entries were, which targets they are in from now on (none: all), and how to answer."""

    former: FormerPlace
    targets: tuple[str, ...]
    yes: bool
    dry_run: bool
    output: str
    full: bool


async def relocate(settings: GlobalOptions, request: RelocationRequest) -> Exit:
    """Plan, show, ask, apply. Raises NotApproved when nobody can be asked or a person says no, UsageError, StateDirError."""
    from kvsync.app import resolve_targets
    from kvsync.app.relocation import Relocation
    from kvsync.app.saved_plan import SelectedPlan
    from kvsync.cli.apply_plan import ApplyRequest, carry_out
    from kvsync.cli.confirm import insist_on_terminal
    from kvsync.cli.progress import progress
    from kvsync.cli.rendered import OutputOptions, show_plan

    if not request.dry_run:
        insist_on_terminal("transfer", yes=request.yes)
    forms, style = OutputOptions(request.output), settings.style(full=request.full)
    async with opening.workspace(settings, writing=None if request.dry_run else "transfer") as workspace:
        loaded = opening.load(workspace)
        relocation = Relocation(workspace, loaded, request.former)
        targets = resolve_targets(loaded, request.targets)
        with progress("planning"):
            plan = await relocation.plan(loaded.managed if targets is None else targets)
        say(*relocation.notes)
        if request.dry_run:
            show_plan(plan, loaded.problems, workspace.state.seal, forms, style)
            return Exit.DONE
        order = ApplyRequest("transfer", forms, style, asks=not request.yes, tells=settings.tells)
        code = await carry_out(workspace, loaded, SelectedPlan(plan), order)
        errors = await relocation.finish()
        say(*(f"kvsync: {error}" for error in errors))
        return Exit.PARTIAL if errors and code is Exit.DONE else code
