"""Undo of a run: first a plan to preview, then the same plan applied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from kvsync.app import Report, Workspace
from kvsync.apply.engine import Applier
from kvsync.apply.invert import InvertedRun, undo, undo_changes
from kvsync.apply.model import ApplyReport
from kvsync.apply.store_access import ApplierOptions
from kvsync.errors import PermanentError, StoreError
from kvsync.ledger.target_ledger import TargetLedger
from kvsync.model.capabilities import Capabilities
from kvsync.model.digest import target_digest
from kvsync.model.entry import Change, Class, Content, Outcome, OutcomeKind, Refusal, Target, identity_order
from kvsync.model.place import LocatedTarget
from kvsync.model.plan import Plan, TargetPlan, TargetReport, make_plan
from kvsync.planning.cost import cost_of
from kvsync.planning.pass_target import PassTarget
from kvsync.reconcile import empty_plan, target_report
from kvsync.reconcile.observer import Observer
from kvsync.state import ChangeRecord, Run
from kvsync.state.rows import name_key
from kvsync.stores.pacing import Pace

_CANNOT = frozenset({OutcomeKind.STALE, OutcomeKind.REFUSED, OutcomeKind.SKIPPED})


class UndoOperation:
    """Takes back one run of a workspace that may write. Raises UsageError when there is no such run."""

    def __init__(self, workspace: Workspace, run_id: str) -> None:
        self._workspace, self._state = workspace, workspace.state
        self.run = self._state.journal.run(run_id)
        self._settled: dict[Target, tuple[Outcome, ...]] = {}
        self._records: dict[Target, list[ChangeRecord]] = {}
        self._subjects: dict[Target, PassTarget] = {}
        for record in self._state.journal.changes(self.run.id):
            self._records.setdefault(record.target, []).append(record)

    async def plan(self) -> Plan:
        """What would be done. Entries that cannot be restored are in it as refused. Raises StateDirError."""
        targets = [await self._plan(target, records) for target, records in self._records.items()]
        return self._workspace.with_waiting(make_plan(self._state.digest_key, self._workspace.config.owner, targets))

    async def apply(self, plan: Plan, stop: Callable[[], bool], progress: Callable[[int], None]) -> Report:
        """Do it, as a run of its own. Entries are read again: what changed since `plan` is stale. Raises StateDirError."""
        if not any(target.changes for target in plan.targets):
            return Report(
                plan, tuple(TargetReport(one, self._settled.get(one.target, ()), one.error) for one in plan.targets)
            )
        run = self._state.journal.begin("undo", self.run.id)
        report = Report(plan, (), run.id)
        try:
            done = [await self._apply(target, run, stop, progress) for target in plan.targets]
            report = Report(plan, tuple(done), run.id)
        finally:
            run.finish(report.counts())
        return report

    async def _plan(self, target: Target, records: Sequence[ChangeRecord]) -> TargetPlan:
        store = self._workspace.stores.get(target.store)
        if store is None:
            error = f"the configuration no longer has a store {target.store!r}"
            return TargetPlan(target, "", target_digest(self._state.digest_key, target, None, ()), error=error)
        offline = LocatedTarget(target, store.place(target.namespace))
        try:
            subject = await self._locate(target, records)
            observer = Observer(store, subject, self._state)
            found = await observer.read_some([record.identity for record in records])
        except StoreError as error:
            return replace(empty_plan(self._state.digest_key, offline, store.capabilities.type), error=str(error))
        self._subjects[target] = subject
        now = self._workspace.clock.now()
        fresh = {identity: observer.shown(actual, None) for identity, actual in found.items()}
        owner, unread = self._workspace.config.owner, observer.unread
        undone = undo_changes(records, fresh, store.capabilities, owner, now, unread)
        self._settled[target] = undone.outcomes
        return _as_plan(self._state.digest_key, subject.located, store.capabilities, undone, records)

    async def _locate(self, target: Target, records: Sequence[ChangeRecord]) -> PassTarget:
        """The target where the run wrote it. Raises PermanentError when its names lead to another place now, StoreError."""
        subject = await self._workspace.locate(target)
        places = {record.place for record in records} - {subject.key, name_key(target)}
        if places:
            known = self._state.places.known(target)
            was = f"was {known.previous}, " if known is not None and known.previous else ""
            raise PermanentError(
                f"{target} is now another store than the one that the run wrote to ({was}is {subject.located.place}); nothing"
                " is changed there; point the name back to the old store to undo this run"
            )
        return subject

    async def _apply(
        self, plan: TargetPlan, run: Run, stop: Callable[[], bool], progress: Callable[[int], None]
    ) -> TargetReport:
        if plan.error:
            return TargetReport(plan, error=plan.error)
        subject, store = self._subjects[plan.target], self._workspace.stores[plan.target.store]
        self._state.memo.drop(subject.key)
        applier = Applier(
            store,
            subject.located,
            subject.signer,
            run,
            self._workspace.clock,
            ApplierOptions(replan=_never, stop=stop, progress=progress, deletions=self._workspace.deletions),
        )
        try:
            await self._workspace.pass_context.places.confirm(subject.located)
            report = await undo(applier, self._records[plan.target], self._workspace.clock.now())
        except StoreError as error:
            report = ApplyReport((), store_error=error)
        failure = str(report.store_error) if report.store_error else await self._leave_ledger(subject, stop)
        return target_report(plan, report, report.outcomes, failure)

    async def _leave_ledger(self, subject: PassTarget, stop: Callable[[], bool]) -> str | None:
        """Let the ledger that the store keeps, where it does, say what was taken back."""
        store = self._workspace.stores[subject.target.store]
        ledger = TargetLedger(store, subject, self._state, writing=True)
        return await ledger.leave(Pace.of(store.capabilities), self._workspace.clock, stop)


def _as_plan(
    digest_key: bytes, located: LocatedTarget, can: Capabilities, undone: InvertedRun, records: Sequence[ChangeRecord]
) -> TargetPlan:
    causes = {record.identity: record.cause for record in records}
    told = (replace(step.change, reasons=_reasons(step.change)) for step in undone.steps)
    changes = tuple(sorted(told, key=lambda one: identity_order(one.identity)))
    refused = tuple(
        Refusal(
            one.identity,
            Class.CONFLICT if one.kind is OutcomeKind.STALE else causes[one.identity],
            one.action,
            one.error or "",
        )
        for one in undone.outcomes
        if one.kind in _CANNOT
    )
    digest = target_digest(digest_key, *located, changes, refused)
    same = sum(one.kind is OutcomeKind.UNCHANGED for one in undone.outcomes)
    target, place = located
    plan = TargetPlan(target, can.type, digest, place, changes=changes, refused=refused, unchanged=same)
    return replace(plan, cost=cost_of(plan, can))


def _reasons(change: Change) -> tuple[str, ...]:
    """What differs between an entry and what it was."""
    now = change.before.content if change.before else None
    then = change.after.content if change.after else None
    if now is None or then is None:
        return ()
    return tuple(name for name in Content._fields if getattr(now, name) != getattr(then, name)) or (
        "expires_at",
        "mark",
    )


async def _never(*_arguments: object) -> None:
    """A change that moved is not planned again: no file asks for what undo restores."""
