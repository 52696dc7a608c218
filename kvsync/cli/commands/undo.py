"""The command `kvsync undo`."""

from __future__ import annotations

import click

from kvsync.cli import open as opening
from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit, of_reports, of_signal


@command(
    "undo",
    short_help="Revert the changes of a run.",
    examples=("undo 20260131-120000-123", "undo 20260131-120000-123 --yes -o json"),
    exits=(Exit.DONE, Exit.ERROR, Exit.PARTIAL, Exit.REFUSED, Exit.LOCKED),
)
@click.argument("run")
@options.yes
@options.output("text", "json", "markdown")
@options.full
def undo(settings: GlobalOptions, run: str, yes: bool, output: str, full: bool) -> Exit:
    """Restore the entries that RUN wrote or deleted (kvsync history lists the runs; the start of an id is enough). Entries that
    changed since are reported as stale and left unchanged. Sensitive values are not kept, so they cannot be restored.

    The next apply makes the same changes again, so revert the files too, or pause the target.
    """
    return opening.run(_undo(settings, run, yes=yes, output=output, full=full))


async def _undo(settings: GlobalOptions, run: str, *, yes: bool, output: str, full: bool) -> Exit:
    from kvsync.app.interruption import interruptible
    from kvsync.app.undo import UndoOperation
    from kvsync.cli import confirm
    from kvsync.cli import rendered as shown
    from kvsync.cli.progress import progress
    from kvsync.model.plan import summary
    from kvsync.rendering.words import summed_up

    style, in_text = settings.style(full=full), output == "text"
    async with opening.workspace(settings, writing="undo", fetches=False) as workspace:
        workspace.load()  # so that sensitive values are known, and hidden
        undoing = UndoOperation(workspace, run)
        confirm.insist_on_terminal("undo", yes=yes)
        plan = await undoing.plan()
        has_work = any(target.changes for target in plan.targets)
        if in_text or (has_work and not yes):
            shown.show_plan_text(plan, style, to_stderr=not in_text)
        if has_work and not yes:
            confirm.confirm(f"Undo {undoing.run.id}: {summed_up(summary(plan.targets))}?")
        with interruptible() as stop, progress("undoing", sum(len(one.changes) for one in plan.targets)) as bar:
            report = await undoing.apply(plan, stop.asked.is_set, bar.advance)
        shown.show_report(report, (), workspace.state.seal, shown.OutputOptions(output), style)
    return of_signal(stop.reason) if stop.reason else of_reports(report.targets, problems=False, held=())
