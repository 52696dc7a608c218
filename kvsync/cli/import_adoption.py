"""The last step of an import: takes ownership of what was written to the files, and checks that nothing is left to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvsync.cli import open as opening
from kvsync.cli.exit_codes import Exit, of_signal
from kvsync.cli.output import print_message
from kvsync.cli.progress import progress

if TYPE_CHECKING:
    from kvsync.app import DesiredState, Report, Workspace
    from kvsync.cli.command import GlobalOptions
    from kvsync.cli.import_result import ImportResult
    from kvsync.model.change import Change
    from kvsync.model.entry import Target
    from kvsync.model.plan import Plan
    from kvsync.model.policy import Adopt

_MOST_SHOWN = 20


async def adopt(settings: GlobalOptions, result: ImportResult) -> Exit:
    """Take ownership, and complete the result. Raises StateDirError."""
    from kvsync.model.entry import Target
    from kvsync.model.plan import outcome_counts, pending
    from kvsync.model.policy import Adopt

    async with opening.workspace(settings, writing="import") as workspace:
        loaded = opening.load(workspace)
        wanted = [Target(result.store, one) for one in result.namespaces]
        targets = tuple(one for one in wanted if one in loaded.managed)
        plan = await _plan(workspace, loaded, targets, Adopt.IF_EQUAL)
        report, stopped_by = await _apply(workspace, plan)
        counts = outcome_counts(report.targets)
        result.adopted = counts[next(kind for kind in counts if kind.value == "applied")]
        if stopped_by:
            result.pending = {"adopt": sum(len(one.changes) for one in report.plan.targets) - result.adopted}
            return of_signal(stopped_by)
        after = await _plan(workspace, loaded, targets)
        result.take_in_plans(plan, after)
    print_message(*(f"not adopted: {line}" for line in result.refused_lines[:_MOST_SHOWN]))
    errors = [one.error for one in report.targets if one.error] + [one.error for one in after.targets if one.error]
    print_message(*(f"kvsync: {error}" for error in errors))
    if errors:
        return Exit.ERROR
    return Exit.PENDING if pending(after) else Exit.DONE


async def _plan(
    workspace: Workspace, loaded: DesiredState, targets: tuple[Target, ...], adopt: Adopt | None = None
) -> Plan:
    from kvsync.app import TargetSelection
    from kvsync.model.pass_options import PassOptions

    with progress("planning"):
        return await workspace.plan(TargetSelection(targets, PassOptions(deep=True, adopt=adopt)), loaded)


async def _apply(workspace: Workspace, plan: Plan) -> tuple[Report, str | None]:
    """The report, and the name of the signal that ended it early."""
    from kvsync.app.interruption import interruptible
    from kvsync.cli.take_over import narrowed

    chosen = narrowed(plan, _changes_no_value, workspace.state.digest_key)
    total = sum(len(one.changes) for one in chosen.targets)
    with interruptible() as stop, progress("adopting", total) as bar:
        done = await workspace.apply(chosen, command="import", stop=stop.asked.is_set, progress=bar.advance)
    return done, stop.reason


def _changes_no_value(change: Change) -> bool:
    """True for an adoption, and for an entry of ours that only lost its mark. An entry that is gone is not created again."""
    from kvsync.model.change import Action

    return change.action is Action.ADOPT or change.reasons == ("mark",)
