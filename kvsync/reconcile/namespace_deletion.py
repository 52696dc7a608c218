"""Deletion of a namespace that the files empty, for stores that can and whose configuration allows it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvsync.errors import LostAnswer, StoreError
from kvsync.model.change import Action, Class, Outcome, OutcomeKind
from kvsync.model.desired import Desired
from kvsync.model.pass_options import PassOptions
from kvsync.model.plan import TargetPlan, TargetReport
from kvsync.model.snapshot import Snapshot
from kvsync.planning.pass_target import PassTarget
from kvsync.reconcile.reports import unapplied
from kvsync.rendering.words import count, moment
from kvsync.stores.base import Store
from kvsync.stores.extensions import NamespaceDeleting

if TYPE_CHECKING:
    from kvsync.apply.ports import DeletionPort
    from kvsync.state import Run, StateDir

_GONE = (OutcomeKind.APPLIED, OutcomeKind.UNCHANGED)


class NamespaceDeletion:
    """Deletes a namespace only if kvsync deleted its last entries, all of them proven to be its own, and if it is still empty
    after the time for which a listing of the store may be late. In doubt the namespace stays, and the plan says why."""

    def __init__(
        self, desired: Desired, store: Store, subject: PassTarget, state: StateDir, ask: PassOptions, *, writing: bool
    ) -> None:
        self._store, self._subject, self._state, self._writing = store, subject, state, writing
        wants_nothing = not (desired.entries or desired.moved or desired.problems)
        may_delete = wants_nothing and ask.deletes_namespaces and not ask.keys
        self._deleter = (
            store if may_delete and isinstance(store, NamespaceDeleting) and store.deletes_namespaces else None
        )
        self.is_wanted = self._deleter is not None

    def planned(self, plan: TargetPlan, snapshot: Snapshot, now: float) -> TargetPlan:
        """The plan with what becomes of the namespace. Raises StateDirError."""
        if not self.is_wanted or not plan.complete or not self._subject.located.place.is_resolved:
            return plan
        stays = self._why_it_stays(plan)
        if stays is not None:
            return _noted(plan, f"the namespace stays: {stays}")
        if plan.changes:
            return _noted(plan, f"kvsync deletes the namespace as well{self._wait()} (delete_namespaces)")
        since = self._state.emptied.since(self._subject.key)
        if since is None:
            return _noted(plan, "the namespace stays: kvsync has not emptied it, so it may belong to another program")
        due = since + self._store.capabilities.settle
        if now < due or snapshot.entries:
            plan = _noted(plan, f"kvsync deletes the empty namespace after {moment(due)} (delete_namespaces)")
            return replace(plan, next_moment=min(due, plan.next_moment or due))
        return replace(plan, deletes_namespace=True)

    def keep(self, plan: TargetPlan, outcomes: tuple[Outcome, ...], now: float) -> None:
        """Note whether applying the plan has emptied the namespace, or filled it again. Raises StateDirError."""
        if any(one.action is not Action.DELETE for one in outcomes) and isinstance(self._store, NamespaceDeleting):
            self._state.emptied.remove(self._subject.key)
            return
        if not self.is_wanted:
            return
        deleted = {one.identity for one in outcomes if one.action is Action.DELETE and one.kind in _GONE}
        is_emptied = plan.complete and self._why_it_stays(plan) is None
        if is_emptied and all(change.identity in deleted for change in plan.changes):
            self._state.emptied.record(self._subject.key, now)

    async def carry_out(self, plan: TargetPlan, run: Run, deletions: DeletionPort | None) -> TargetReport:
        """Delete the namespace, which counts as one delete, and record it in the journal. The error of the report says why it
        stays. Raises StateDirError."""
        report = TargetReport(plan, unapplied(plan))
        grant = None if deletions is None else deletions.take(1)
        if grant is not None and not grant.granted:
            return replace(report, deletes_waiting=1, waits_until=grant.budget.free_at)
        located = self._subject.located
        run.intend_namespace(located)
        try:
            kind, stays = await self._delete()
        except Exception:
            run.settle_namespace(located.target, OutcomeKind.UNKNOWN)
            raise
        run.settle_namespace(located.target, kind, stays)
        if deletions is not None and grant is not None:
            deletions.settle(grant, int(kind is not OutcomeKind.REFUSED))
        if kind is not OutcomeKind.APPLIED:
            known = "" if kind is OutcomeKind.UNKNOWN else "the namespace was not deleted: "
            return replace(report, error=f"{known}{stays}")
        self._state.emptied.remove(self._subject.key)
        self._state.places.remove(located.target)
        return replace(report, namespace_deleted=True)

    async def _delete(self) -> tuple[OutcomeKind, str | None]:
        """What became of the namespace, and why it stays."""
        assert self._deleter is not None, "only a wanted deletion is planned"
        target, place = self._subject.located
        try:
            stays = await self._deleter.delete_namespace(target.namespace, place)
        except LostAnswer as error:
            return OutcomeKind.UNKNOWN, str(error)
        except StoreError as error:
            return OutcomeKind.FAILED, str(error)
        return (OutcomeKind.APPLIED if stays is None else OutcomeKind.REFUSED), stays

    def _why_it_stays(self, plan: TargetPlan) -> str | None:
        """What speaks against deleting the namespace, even once the changes of the plan are made."""
        assert self._deleter is not None
        why = self._deleter.why_namespace_stays(plan.target.namespace)
        if why is not None:
            return why
        others = plan.foreign + plan.ignored + plan.unchanged + len(plan.refused) + len(plan.reported)
        pruned = sum(change.cause is Class.FOREIGN for change in plan.changes)
        if not others and not pruned:
            return None
        if self._writing:  # whatever is there now, kvsync did not empty the namespace for good
            self._state.emptied.remove(self._subject.key)
        what = "that kvsync does not delete" if others else "that kvsync did not write"
        return f"it holds {count(others or pruned, 'entry', 'entries')} {what}"

    def _wait(self) -> str:
        settle = self._store.capabilities.settle
        return f", once it has been empty for {settle:g} s" if settle else ", in the next apply"


def _noted(plan: TargetPlan, note: str) -> TargetPlan:
    return replace(plan, notes=(*plan.notes, note))
