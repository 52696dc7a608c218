"""The command `kvsync adopt`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvsync.cli import open as opening
from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import say

if TYPE_CHECKING:
    from kvsync.model.plan import Plan, TargetPlan


@command(
    "adopt",
    short_help="Take ownership of existing entries that match the files.",
    examples=("adopt", "adopt --yes --target local/web"),
    exits=(Exit.DONE, Exit.ERROR, Exit.PARTIAL, Exit.REFUSED, Exit.LOCKED),
)
@options.targets
@options.keys
@options.yes
@options.output("text", "json", "markdown")
@options.full
def adopt(
    settings: GlobalOptions, targets: tuple[str, ...], keys: tuple[str, ...], yes: bool, output: str, full: bool
) -> Exit:
    """Mark entries as owned by kvsync if they have no owner and match the files, regardless of policy.adopt. Entries whose
    mark is lost, or was made by an earlier version or with an earlier owner key, are marked again. No value changes, and
    entries that differ from the files are left unchanged.
    """
    return opening.run(_adopt(settings, targets, keys, yes=yes, output=output, full=full))


async def _adopt(
    settings: GlobalOptions, targets: tuple[str, ...], keys: tuple[str, ...], *, yes: bool, output: str, full: bool
) -> Exit:
    from kvsync.app.saved_plan import SelectedPlan
    from kvsync.cli.apply_plan import ApplyRequest, carry_out
    from kvsync.cli.confirm import insist_on_terminal
    from kvsync.cli.rendered import OutputOptions
    from kvsync.model.pass_options import PassOptions
    from kvsync.model.policy import Adopt

    insist_on_terminal("adopt", yes=yes)
    async with opening.workspace(settings, writing="adopt") as workspace:
        loaded = opening.load(workspace)
        plan = await opening.plan(workspace, loaded, targets, PassOptions(deep=True, keys=keys, adopt=Adopt.IF_EQUAL))
        _tell_of_others(plan)
        order = ApplyRequest(
            "adopt", OutputOptions(output), settings.style(full=full), asks=not yes, tells=settings.tells
        )
        return await carry_out(workspace, loaded, SelectedPlan(_only_adoptions(plan)), order)


def _only_adoptions(plan: Plan) -> Plan:
    from kvsync.model.plan import make_plan

    return make_plan(plan.owner, map(_adopted, plan.targets), plan.stats, plan.source)


def _adopted(plan: TargetPlan) -> TargetPlan:
    """What of a target's plan takes ownership. A guard has nothing to say to it: no value is written."""
    from kvsync.model.digest import target_digest
    from kvsync.model.entry import Action

    changes = tuple(one for one in plan.changes if one.action is Action.ADOPT)
    digest = target_digest(plan.target, plan.place, changes)
    return replace(plan, digest=digest, changes=changes, parked=(), refused=(), reported=())


def _tell_of_others(plan: Plan) -> None:
    from kvsync.model.entry import Class

    differ = sum(refusal.cause is Class.UNOWNED for target in plan.targets for refusal in target.refused)
    if differ:
        entries = "1 entry" if differ == 1 else f"{differ:,} entries"
        say(f"{entries} without an owner differ from the files and were left unchanged; run kvsync plan to see them")
