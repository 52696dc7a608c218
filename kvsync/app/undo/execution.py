"""Executes undo requests: holds the entries first, restores them, and records the outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kvsync.app import Workspace
from kvsync.app.crashes import CrashGuard
from kvsync.app.fleet import CommandShare
from kvsync.app.undo.records import records_of
from kvsync.app.undo.target import TargetUndo, wanted_entries
from kvsync.apply.engine import Applier
from kvsync.apply.model import ApplyReport
from kvsync.apply.store_access import ApplierOptions
from kvsync.apply.undo import undo
from kvsync.desired import DesiredState
from kvsync.errors import StoreError
from kvsync.ledger.target_ledger import TargetLedger
from kvsync.logs import get_logger
from kvsync.model.change import Change, Outcome, OutcomeKind
from kvsync.model.digest import entry_digest
from kvsync.model.entry import Entry
from kvsync.model.plan import TargetPlan, TargetReport, outcome_counts
from kvsync.planning.pass_target import PassTarget
from kvsync.reconcile import target_report
from kvsync.state import Run, RunCause, UndoRequest
from kvsync.stores.pacing import ConcurrencyLimiter

_RESTORED = frozenset({OutcomeKind.APPLIED, OutcomeKind.UNCHANGED})

_log = get_logger()


class UndoExecution:
    """Carries out requests in a workspace that may write. `loaded` is what the files ask."""

    def __init__(
        self,
        workspace: Workspace,
        loaded: DesiredState,
        stop: Callable[[], bool] = lambda: False,
        progress: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._workspace, self._state, self._loaded = workspace, workspace.state, loaded
        self._stop, self._progress = stop, progress

    async def all(self, requests: Sequence[UndoRequest]) -> tuple[list[TargetReport], str | None]:
        """Carry out requests as one run, which is returned too; none when there is nothing to do. Raises StateDirError."""
        if not requests:
            return [], None
        first = requests[0]
        source = first.runs[0] if len(first.runs) == 1 else first.choice
        run = self._state.journal.begin(RunCause("undo", source, self._workspace.config.environment))
        done: list[TargetReport] = []
        try:
            for request in requests:
                if self._stop():
                    break
                done.append(await self.one(request, run))
        finally:
            run.finish({kind.value: count for kind, count in outcome_counts(done).items()})
        return done, run.id

    async def one(self, request: UndoRequest, run: Run) -> TargetReport:
        """Carry out one request, and close it. Stopped half-way it stays open. Raises StateDirError."""
        report: TargetReport | None = None
        with CrashGuard(request.target, "undoing") as guard:  # a request that fails each time must not stop its target
            report = await self._carry_out(request, run)
        if report is None:
            failure = guard.failure
            plan = TargetPlan(request.target, "", "", error=str(failure), code=failure.code)
            report = TargetReport(plan, error=plan.error, code=plan.code)
        is_cut_off = self._stop() and any(one.kind is OutcomeKind.NOT_ATTEMPTED for one in report.outcomes)
        if not is_cut_off:
            self._state.undo_requests.close(request, run.id, report_data(report))
        names = {"store": request.target.store, "namespace": request.target.namespace}
        outcomes = {kind.value: count for kind, count in outcome_counts([report]).items() if count}
        _log.info("undo.finished", **names, choice=request.choice, run=run.id, outcomes=outcomes, error=report.error)
        return report

    async def _carry_out(self, request: UndoRequest, run: Run) -> TargetReport:
        records = records_of(self._state, request.runs, request.target).get(request.target, [])
        undoing = TargetUndo(self._workspace, request.target, records, wanted_entries(self._loaded, request.target))
        plan = await undoing.plan()
        if plan.error or undoing.subject is None:
            return TargetReport(plan, error=plan.error, code=plan.code)
        self._hold(undoing, plan.changes)
        report = await self._apply(undoing, plan, run)
        self._release_changed(undoing.subject, plan.changes, report.outcomes)
        return report

    def _hold(self, undoing: TargetUndo, changes: Sequence[Change]) -> None:
        """Hold the entries before the first is written, so that no pass takes the undo back, even after a crash."""
        assert undoing.subject is not None
        desired = undoing.wanted
        unchanged = {one.identity for one in undoing.outcomes if one.kind is OutcomeKind.UNCHANGED}
        back = {one.identity for one in changes if _is_as_asked(one.after, desired.get(one.identity))}
        held = ({one.identity for one in changes} | unchanged) - back
        runs = {record.identity: record.run for record in undoing.records}
        known = {identity: (entry_digest(desired.get(identity)), runs[identity]) for identity in held}
        self._workspace.waves.records.reopen(undoing.target, "a run was undone in it")
        self._state.undone.put(undoing.subject.key, known)
        self._state.undone.remove(undoing.subject.key, back)

    def _release_changed(self, subject: PassTarget, changes: Sequence[Change], outcomes: Sequence[Outcome]) -> None:
        """Hold only what is as it was: the files ask for the rest as before."""
        restored = {one.identity for one in outcomes if one.kind in _RESTORED}
        if not self._stop():
            self._state.undone.remove(subject.key, {one.identity for one in changes} - restored)

    async def _apply(self, undoing: TargetUndo, plan: TargetPlan, run: Run) -> TargetReport:
        subject, workspace = undoing.subject, self._workspace
        assert subject is not None
        store = workspace.stores[undoing.target.store]
        self._state.clean_passes.drop(subject.key)
        options = ApplierOptions(replan=_never, stop=self._stop, progress=self._progress, deletions=workspace.deletions)
        applier = Applier(store, subject.located, subject.signer, run, workspace.clock, options)
        try:
            await workspace.pass_context.places.confirm(subject.located)
            report = await undo(applier, undoing.records, undoing.wanted, workspace.clock.now())
        except StoreError as error:
            report = ApplyReport((), store_error=error)
        failure = str(report.store_error) if report.store_error else await self._leave_ledger(subject)
        return target_report(plan, report, tuple(map(undoing.explained, report.outcomes)), failure)

    async def _leave_ledger(self, subject: PassTarget) -> str | None:
        """Let the ledger that the store keeps, where it does, say what was taken back."""
        store = self._workspace.stores[subject.target.store]
        ledger = TargetLedger(store, subject, self._state, writing=True)
        return await ledger.write_if_due(ConcurrencyLimiter.of(store.capabilities), self._workspace.clock, self._stop)


async def finish_open(workspace: Workspace, loaded: DesiredState) -> int:
    """Carry out what is left of requests that were cut off, before anything else is written; returns in how many targets.
    Replicas that hold a target do it there. Raises StateDirError."""
    requests, claims = workspace.state.undo_requests.open(), workspace.state.claims
    if claims is not None:
        share = CommandShare(claims)
        requests = [one for one in requests if share.claim_temporarily(one.target)]
    done, _ = await UndoExecution(workspace, loaded).all(requests)
    return len(done)


def report_data(report: TargetReport) -> dict[str, Any]:
    """What became of a request, as plain data."""
    outcomes = [
        [one.identity.key, one.identity.label, one.action.value, one.kind.value, one.error] for one in report.outcomes
    ]
    return {"outcomes": outcomes, "error": report.error}


def _is_as_asked(restored: Entry | None, wanted: Entry | None) -> bool:
    """True when an undo leads back to what the files ask, as that of an undo does."""
    if restored is None or wanted is None:
        return restored is wanted
    return restored.fingerprint == wanted.fingerprint


async def _never(*_arguments: object) -> None:
    """A change that moved is not planned again: no file asks for what undo restores."""
