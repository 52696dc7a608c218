"""The command `kvsync drift`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvsync.cli import open as opening
from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit, of_plan
from kvsync.cli.output import print_text
from kvsync.cli.rendered import OutputOptions, show_plan

if TYPE_CHECKING:
    from kvsync.model.plan import Plan, TargetPlan


@command(
    "drift",
    short_help="Show changes in the stores that kvsync did not make. Read-only.",
    examples=("drift", "drift --deep -o json", "drift --target local/web"),
    exits=(Exit.DONE, Exit.ERROR, Exit.PENDING),
)
@options.targets
@options.keys
@options.deep
@options.output("text", "json", "markdown")
@options.full
async def drift(
    settings: GlobalOptions, targets: tuple[str, ...], keys: tuple[str, ...], deep: bool, output: str, full: bool
) -> Exit:
    """Show drift: entries owned by kvsync that another writer changed (drifted), deleted (missing), or changed while the files
    changed too (conflict). Exits with 2 if there is drift, and with 1 if there is none but the listing of a store was
    incomplete."""
    from kvsync.model.pass_options import PassOptions
    from kvsync.rendering.text import render_drift

    async with opening.workspace(settings) as workspace:
        loaded = opening.load(workspace)
        plan = await opening.plan(workspace, loaded, targets, PassOptions(deep=deep, keys=keys))
        plan = _only_drift(plan, workspace.state.digest_key)
        style = settings.style(full=full)
        if output == "text":
            print_text(render_drift(plan, style))
        else:
            show_plan(plan, loaded.problems, workspace.state.seal, OutputOptions(output), style)
        return of_plan(plan, problems=bool(loaded.problems), pending=True)


def _only_drift(plan: Plan, key: bytes) -> Plan:
    from kvsync.model.plan import narrowed_plan

    return narrowed_plan(plan, (_drifted(one, key) for one in plan.targets), key)


def _drifted(plan: TargetPlan, key: bytes) -> TargetPlan:
    """A target's plan with its drift alone, whether it is healed, only reported, or deferred."""
    from kvsync.model.digest import target_digest
    from kvsync.model.entry import identity_order
    from kvsync.model.plan import Cost, drifted

    changes = tuple(sorted(drifted(plan), key=lambda change: identity_order(change.identity)))
    digest = target_digest(key, plan.target, plan.place, changes)
    return replace(plan, changes=changes, digest=digest, parked=(), refused=(), reported=(), cost=Cost())
