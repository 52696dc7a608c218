"""Apply flow of the commands: show the plan, ask, apply, show the outcomes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from kvsync.app import permit as holding
from kvsync.cli import confirm
from kvsync.cli import rendered as shown
from kvsync.cli.exit_codes import Exit, of_reports, of_signal
from kvsync.cli.output import print_message
from kvsync.cli.progress import progress
from kvsync.util.values import dataclass

if TYPE_CHECKING:
    from kvsync.app import DesiredState, Report, Workspace
    from kvsync.app.saved_plan import SelectedPlan
    from kvsync.model.plan import Plan
    from kvsync.rendering.style import Style


@dataclass(frozen=True, slots=True)
class ApplyRequest:
    """How to carry out a plan: for which command, how to answer, what is approved, whether to ask first, and whether the log
    gets every change."""

    command: str
    forms: shown.OutputOptions
    style: Style
    approvals: Collection[str] = ()
    asks: bool = False
    logs_changes: bool = False


async def carry_out(workspace: Workspace, loaded: DesiredState, chosen: SelectedPlan, order: ApplyRequest) -> Exit:
    """Show the plan, ask, apply it, and show the outcomes. Raises NotApproved when a person says no, StateDirError."""
    from kvsync.app.interruption import interruptible
    from kvsync.model.plan import is_quiet

    chosen = replace(chosen, plan=workspace.with_approvals(chosen.plan, order.approvals))
    split = holding.split(workspace, chosen.plan)
    _show_and_ask(chosen.plan, split, order)
    total = sum(len(one.changes) for one in split.plan.targets if one.target not in split.held)
    with interruptible() as stop, progress("applying", total) as bar:
        done = await workspace.apply(
            split.plan, command=order.command, approvals=order.approvals, stop=stop.asked.is_set, progress=bar.advance
        )
    report = _whole(chosen, split, done)
    if order.logs_changes:
        _log_changes(report, workspace.state.seal)
    quiet = not chosen.stale and all(map(is_quiet, chosen.plan.targets))
    shown.show_report(report, loaded.problems, workspace.state.seal, order.forms, order.style, quiet=quiet)
    _print_wave_hint(report, order.command)
    if stop.reason:
        return of_signal(stop.reason)
    return of_reports(report.targets, problems=bool(loaded.problems), held=split.held)


def _show_and_ask(plan: Plan, split: holding.PermittedPlan, order: ApplyRequest) -> None:
    """Show the plan, and ask if that is wanted and there is something to apply. Raises NotApproved."""
    print_message(*(_unmatched(one) for one in order.approvals if not _is_of(one, plan)))
    in_text = order.forms.output == "text"
    if in_text or (order.asks and split.has_work):
        shown.show_plan_text(plan, order.style, to_stderr=not in_text)
    if split.denied:
        print_message(f"kvsync: {split.denied}")
    if order.asks and split.has_work:
        confirm.confirm(_question(split))


def _whole(chosen: SelectedPlan, split: holding.PermittedPlan, done: Report) -> Report:
    """The report over all targets of the plan, also over those that were not to be applied."""
    reports = sorted((*done.targets, *split.withheld), key=lambda one: one.plan.target)
    return replace(done, plan=chosen.plan, targets=tuple(map(chosen.completed, reports)))


def _print_wave_hint(report: Report, command: str) -> None:
    """Say how to go on once the bake time of an earlier wave is over."""
    from kvsync.rendering.words import moment

    waves = [one.plan.wave for one in report.targets if one.early and one.plan.wave is not None]
    ends = [wave.until for wave in waves if wave.until is not None]
    if ends and command == "apply":
        print_message(
            f"kvsync: run kvsync apply again at {moment(min(ends))} to apply the later waves, or use --wait DURATION"
        )


def _is_of(approval: str, plan: Plan) -> bool:
    from kvsync.app import is_hash_of

    return any(is_hash_of(approval, digest) for digest in (plan.digest, *(one.digest for one in plan.targets)))


def _unmatched(approval: str) -> str:
    why = "files or store changed, or it was shown by kvsync with another state directory (another key)"
    return f"kvsync: --approve {approval}: this plan has another hash: {why}"


def _question(split: holding.PermittedPlan) -> str:
    from kvsync.model.plan import summary
    from kvsync.rendering.words import summed_up

    going = summary(one for one in split.plan.targets if one.target not in split.held)
    where = f" to {split.plan.environment}" if split.plan.environment else ""
    return f"Apply{where}: {summed_up(going)}?"


def _log_changes(report: Report, seal: Callable[[bytes], str]) -> None:
    from kvsync.app.pass_log import log_drift, log_report

    for one in report.targets:
        log_drift(one.plan, seal)
        log_report(one, report.run, seal)
