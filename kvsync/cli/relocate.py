"""Moves entries from a former place: the plan of `transfer --from-store` and the like, shown first, then applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvsync.cli import open as opening
from kvsync.cli.exit_codes import Exit
from kvsync.cli.one_time import OneTimeChange
from kvsync.cli.output import print_message, print_message_block, print_text
from kvsync.errors import NotApproved
from kvsync.util.escaping import escape_text

if TYPE_CHECKING:
    from kvsync.app import Workspace
    from kvsync.app.namespace_rename import NamespaceRename
    from kvsync.app.relocated import FormerPlace
    from kvsync.model.plan import Plan


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
            plan = await relocation.plan(targets)
        print_message(*relocation.notes)
        if relocation.rename is not None:
            return await _rename(change, workspace, relocation.rename, plan)
        code = await change.carry_out(workspace, loaded, plan)
        errors = () if change.dry_run else await relocation.finish()
        print_message(*(f"kvsync: {error}" for error in errors))
        return Exit.PARTIAL if errors and code is Exit.DONE else code


async def _rename(change: OneTimeChange, workspace: Workspace, rename: NamespaceRename, plan: Plan) -> Exit:
    """Show, ask, rename. Raises NotApproved when a person says no, StoreError, StateDirError."""
    from kvsync.app import Report
    from kvsync.app.permit import target_denial
    from kvsync.cli import rendered as shown
    from kvsync.cli.confirm import confirm
    from kvsync.model.plan import TargetReport

    forms, style, seal = (
        shown.OutputOptions(change.output),
        change.settings.style(full=change.full),
        workspace.state.seal,
    )
    in_text = forms.output == "text"
    if in_text or not change.yes:
        text = escape_text(f"{rename.source}: {rename}") + "\nPlan: 1 namespace to rename.\n"
        (print_text if in_text else print_message_block)(text)
    if change.dry_run:
        if not in_text:
            shown.show_plan(plan, (), seal, forms, style)
        return Exit.DONE
    denied = target_denial(workspace, (rename.source, rename.target))
    if denied is not None:
        raise NotApproved(denied)
    if not change.yes:
        confirm(f"Rename the namespace {rename.source.namespace} to {rename.target.namespace}?")
    run = await rename.carry_out(workspace)
    if in_text:
        print_text("Done: 1 namespace renamed.\n")
    else:
        shown.show_report(Report(plan, tuple(map(TargetReport, plan.targets)), run), (), seal, forms, style)
    return Exit.DONE
