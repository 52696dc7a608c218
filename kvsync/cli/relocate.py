"""Moves entries from a former place: the plan of `transfer --from-store` and the like, shown first, then applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvsync.cli import open as opening
from kvsync.cli.exit_codes import Exit
from kvsync.cli.one_time import OneTimeChange
from kvsync.cli.output import say

if TYPE_CHECKING:
    from kvsync.app.relocation import FormerPlace


async def relocate(change: OneTimeChange, former: FormerPlace, names: tuple[str, ...]) -> Exit:
    """Plan, show, ask, apply: entries move from `former` to the targets `names` (none: all). Raises NotApproved when nobody can
    be asked or a person says no, UsageError, StateDirError."""
    from kvsync.app import resolve_targets
    from kvsync.app.relocation import Relocation
    from kvsync.cli.progress import progress

    async with change.workspace() as workspace:
        loaded = opening.load(workspace)
        relocation = Relocation(workspace, loaded, former)
        targets = resolve_targets(loaded, names)
        with progress("planning"):
            plan = await relocation.plan(loaded.managed if targets is None else targets)
        say(*relocation.notes)
        code = await change.carry_out(workspace, loaded, plan)
        errors = () if change.dry_run else await relocation.finish()
        say(*(f"kvsync: {error}" for error in errors))
        return Exit.PARTIAL if errors and code is Exit.DONE else code
