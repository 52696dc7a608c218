"""The command `kvsync undo`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from kvsync.cli import completing, options
from kvsync.cli import open as opening
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit, of_reports, of_signal
from kvsync.cli.output import print_message
from kvsync.errors import ClaimHeld, KvsyncError, LockHeld
from kvsync.util.values import dataclass

if TYPE_CHECKING:
    from kvsync.app import DesiredState, Report, Workspace
    from kvsync.app.undo import QueuedUndo, UndoChoice, UndoOperation
    from kvsync.model.entry import Target
    from kvsync.model.plan import Plan


@command(
    "undo",
    short_help="Revert the changes of a run, or of all runs of a commit.",
    examples=(
        "undo 20260131-120000-123 --dry-run",
        "undo 20260131-120000-123 --yes -o json",
        "undo --commit 3f2a91c",
        "undo --since 20260131-120000-123 --trigger files",
    ),
    exits=(Exit.DONE, Exit.ERROR, Exit.PARTIAL, Exit.REFUSED, Exit.LOCKED),
)
@click.argument("run", required=False, shell_complete=completing.runs)
@options.runs(
    commit="Undo all runs that applied this commit (the start of its hash).",
    since="Undo this run and all later ones, or all runs of a duration such as 2h.",
    trigger="With --commit or --since: limit to runs of this trigger (kvsync history).",
)
@options.dry_run
@options.yes
@options.output("text", "json", "markdown")
@options.full
async def undo(settings: GlobalOptions, run: str | None, commit: str | None, **chosen: Any) -> Exit:
    """Restore the entries that RUN wrote or deleted (kvsync history lists the runs; the start of an id is enough), or revert
    all runs of a commit together. Entries that changed since are reported as stale and left unchanged. Sensitive values are not
    kept, so they cannot be restored; the plan says so before anything is done.

    Undone entries stay undone until their files change, or until you run kvsync resume TARGET --key GLOB. If a daemon is
    running, it carries out the undo.
    """
    from kvsync.app.undo import UndoChoice

    choice = UndoChoice(run, commit, chosen.pop("since"), chosen.pop("trigger"))
    return await _undo(settings, choice, _Answer(**chosen))


@dataclass(frozen=True, slots=True)
class _Answer:
    dry_run: bool
    yes: bool
    output: str
    full: bool


async def _undo(settings: GlobalOptions, choice: UndoChoice, how: _Answer) -> Exit:
    from kvsync.app.state_access import has_file

    if not has_file(settings.config):
        return await _undo_without_file(settings, choice, how)
    held: KvsyncError | None = None
    if not how.dry_run:
        try:
            async with opening.workspace(settings, writing="undo", fetches=False) as workspace:
                # Sensitive values are known once the files are loaded, and hidden.
                return await _carry_out(settings, workspace, workspace.load(), choice, how, None)
        except (LockHeld, ClaimHeld) as error:
            held = error
    async with opening.workspace(settings, fetches=False) as workspace:
        return await _carry_out(settings, workspace, workspace.load(), choice, how, held)


async def _undo_without_file(settings: GlobalOptions, choice: UndoChoice, how: _Answer) -> Exit:
    from kvsync.app.undo import no_preview, no_replica, open_state_workspace

    if how.dry_run:
        raise no_preview()
    with open_state_workspace(settings.environment) as (workspace, loaded):
        return await _carry_out(settings, workspace, loaded, choice, how, no_replica())


async def _carry_out(
    settings: GlobalOptions,
    workspace: Workspace,
    loaded: DesiredState,
    choice: UndoChoice,
    how: _Answer,
    held: KvsyncError | None,
) -> Exit:
    from kvsync.app.undo import QueuedUndo, UndoOperation, chosen_runs, finish_open
    from kvsync.cli import confirm
    from kvsync.cli import rendered as shown

    chosen = chosen_runs(workspace.state, choice, workspace.clock.now())
    operation = UndoOperation(workspace, chosen, loaded)
    queued = QueuedUndo(workspace, operation) if held is not None else None
    if queued is not None and held is not None:
        queued.check(held)
    if not how.dry_run:
        confirm.require_terminal("undo", yes=how.yes)
        if queued is None and (finished := await finish_open(workspace, loaded)):
            print_message(f"kvsync: completed an interrupted undo ({finished} targets)")
    plan = await operation.plan()
    unseen = operation.unreadable if queued is not None else ()
    _preview(settings, operation, plan, how, unseen)
    if how.dry_run:
        return Exit.ERROR if any(one.error for one in plan.targets) else Exit.DONE
    report, reason = await _apply(operation, queued, plan)
    style = settings.style(full=how.full)
    shown.show_report(report, (), workspace.state.seal, shown.OutputOptions(how.output), style)
    return of_signal(reason) if reason else of_reports(report.targets, problems=False, held=())


def _preview(
    settings: GlobalOptions, operation: UndoOperation, plan: Plan, how: _Answer, unseen: Sequence[Target]
) -> None:
    """Show what would be done, and what cannot be, before anything is; raises NotApproved when a person says no."""
    from kvsync.app.undo.operation import beyond_undo
    from kvsync.cli import confirm
    from kvsync.cli import rendered as shown
    from kvsync.model.plan import summary
    from kvsync.rendering.words import count, summed_up

    style, chosen, is_asked = settings.style(full=how.full), operation.chosen, not (how.yes or how.dry_run)
    seen = replace(plan, targets=tuple(one for one in plan.targets if one.target not in unseen))
    has_work = bool(unseen) or any(target.changes for target in seen.targets)
    if how.dry_run:
        shown.show_plan(seen, (), operation.seal, shown.OutputOptions(how.output), style)
    elif seen.targets and (how.output == "text" or (has_work and is_asked)):
        shown.show_plan_text(seen, style, to_stderr=how.output != "text")
    if len(chosen.runs) > 1:
        print_message(f"kvsync: {chosen.text}: {len(chosen.runs):,} runs, {count(len(plan.targets), 'target')}")
    if lost := beyond_undo(seen):
        print_message(
            f"kvsync: {count(lost, 'entry', 'entries')} cannot be restored, because the journal keeps no sensitive value"
        )
    _say_unseen(operation, plan, unseen)
    for target in operation.deleted_namespaces():
        print_message(f"kvsync: {target}: undo cannot restore the deleted namespace; revert the commit that emptied it")
    if has_work and is_asked:
        where = f" in {plan.environment}" if plan.environment else ""
        parts = [summed_up(summary(seen.targets))] if seen.targets else []
        parts += [f"{count(len(unseen), 'target')} without a preview"] if unseen else []
        confirm.confirm(f"Undo {chosen.text}{where}: {', and '.join(parts)}?")


def _say_unseen(operation: UndoOperation, plan: Plan, unseen: Sequence[Target]) -> None:
    """Say what is undone without a preview, and why."""
    from kvsync.rendering.words import count

    errors = {one.target: one.error for one in plan.targets}
    for target in unseen:
        changes = count(len(operation.records[target]), "change")
        print_message(
            f"kvsync: {target}: no preview of the undo of {changes}: {errors[target]};"
            " the replica that holds the target carries it out"
        )


async def _apply(operation: UndoOperation, queued: QueuedUndo | None, plan: Plan) -> tuple[Report, str | None]:
    """What became of it, and the signal that ended it early. Next to a daemon, the daemon does it."""
    from kvsync.app.interruption import interruptible
    from kvsync.cli.progress import progress

    total = sum(len(one.changes) for one in plan.targets)
    unseen = operation.unreadable
    if queued is None or not (total or unseen):
        with interruptible() as stop, progress("undoing", total) as bar:
            return await operation.apply(plan, stop.asked.is_set, bar.advance), stop.reason
    targets = sum(bool(one.changes) for one in plan.targets) + len(unseen)
    with interruptible() as stop, progress("waiting for the daemon", targets) as bar:
        return await queued.apply(plan, stop.asked.is_set, bar.advance), stop.reason
