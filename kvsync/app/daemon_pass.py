"""One pass of the daemon over a target: undo what operators requested, plan, apply, and log each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from kvsync.app import TargetSelection, Workspace
from kvsync.app.pass_log import KnownRefusals, log_drift, log_report
from kvsync.app.undo.execution import UndoExecution
from kvsync.daemon.ports import PassRequest
from kvsync.desired import DesiredState
from kvsync.model.entry import Target
from kvsync.model.pass_options import PassOptions
from kvsync.model.plan import TargetPlan, TargetReport
from kvsync.model.result import PassResult, pass_result
from kvsync.rendering.words import moment
from kvsync.state import RunCause
from kvsync.tracing import span
from kvsync.util.background import off_loop

_FEW_EVENTS = 256
"""Events of a pass that are logged at once; more would stop the event loop for longer than a health check waits."""


async def run_pass(
    workspace: Workspace, files: DesiredState, request: PassRequest, stop: Callable[[], bool], known: KnownRefusals
) -> PassResult:
    """Do one pass; refusals that are `known` are not logged again. Once `stop()` is true, it ends after the batch in flight.
    Raises what cannot be part of a result: StateDirError, and KvsyncError of the plan."""
    names = {"store": request.target.store, "namespace": request.target.namespace}
    trigger = "+".join(request.triggers)
    with span("pass", **names, trigger=trigger, apply=request.apply, deep=request.deep) as note:
        longest = workspace.config.pass_limits.rest
        result = _with_rest(await _pass(workspace, files, request, stop, known), workspace.clock.now(), longest)
        note(ok=result.ok, pending=result.pending, drifted=sum(result.drift.values()), parked=bool(result.parked))
        note(**{str(kind): count for kind, count in result.changes.items() if count})
        return result


async def carry_out_undo(workspace: Workspace, files: DesiredState, target: Target, stop: Callable[[], bool]) -> None:
    """Carry out what operators want undone in a target, also while it is paused or a window denies applying: they asked for
    it. Raises StateDirError."""
    context = workspace.pass_context
    if not context.writing or not context.fence.is_open:
        return
    requests = workspace.state.undo_requests.open(target)
    if requests:
        done, run = await UndoExecution(workspace, files, stop).all(requests)
        for report in done:
            log_report(report, run, workspace.state.seal)


async def _pass(
    workspace: Workspace, files: DesiredState, request: PassRequest, stop: Callable[[], bool], known: KnownRefusals
) -> PassResult:
    target = request.target
    await carry_out_undo(workspace, files, target, stop)
    ask = PassOptions(deep=request.deep, grace=request.grace, deletes_namespaces=True)
    plan = await workspace.plan(TargetSelection((target,), ask), files)
    (target_plan,) = plan.targets
    await _log_plan(workspace, target_plan)
    if not request.apply or target_plan.error or _is_paused(workspace, target_plan):
        return pass_result(TargetReport(target_plan), is_applied=False, failure=workspace.failure(target))
    cause = RunCause("run", triggers=tuple(trigger.value for trigger in request.triggers))
    report = await workspace.apply(plan, command=cause, stop=stop)
    await _log_outcomes(workspace, report.targets[0], report.run, known)
    settle = workspace.stores[target.store].capabilities.settle
    return pass_result(
        report.targets[0],
        report.run,
        is_applied=True,
        failure=workspace.failure(target),
        settled_at=workspace.clock.now() + settle if settle else None,
    )


def _is_paused(workspace: Workspace, plan: TargetPlan) -> bool:
    """True if a pause holds the changes: the plan may have found that the place behind a new name is paused."""
    return bool(plan.changes or plan.deletes_namespace) and workspace.state.pauses.is_paused(plan.target)


async def _log_plan(workspace: Workspace, plan: TargetPlan) -> None:
    drifted = len(plan.changes) + len(plan.reported)
    await off_loop(partial(log_drift, plan, workspace.state.seal), drifted, _FEW_EVENTS)


async def _log_outcomes(workspace: Workspace, report: TargetReport, run: str | None, known: KnownRefusals) -> None:
    outcomes = len(report.outcomes) + len(report.plan.refused)
    await off_loop(partial(log_report, report, run, workspace.state.seal, known), outcomes, _FEW_EVENTS)


def _with_rest(result: PassResult, now: float, longest: float) -> PassResult:
    """The result of a pass; where its store asks for a rest, with words for that wherever its error is shown. It is tried again
    after `longest` seconds, however long the rest is."""
    if result.rest is None:
        return result
    until = moment(now + result.rest)
    again = f"kvsync tries again every {longest:g} s (limits.rest)" if result.rest > longest else ""
    hint = "a change of the files, SIGUSR1 or a webhook tries at once"
    texts = (
        result.error or "the store refused requests",
        f"resting until {until}, as the store requested",
        again,
        hint,
    )
    text = "; ".join(one for one in texts if one)
    return replace(result, error=text, retry_after=min(result.rest, longest), asked_rest=result.rest)
