"""One pass over one target: each step is a line of `plan` or `apply`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from kvsync.apply.model import ApplyReport, Step
from kvsync.errors import PassOverdue, StoreError
from kvsync.ledger.found import LedgerNotOurs
from kvsync.logs import get_logger
from kvsync.model.capabilities import Marks
from kvsync.model.change import Action, Change, Outcome, OutcomeKind, Refusal
from kvsync.model.desired import Desired
from kvsync.model.digest import target_digest
from kvsync.model.entry import Actual, Identity, Target
from kvsync.model.pass_options import PassOptions
from kvsync.model.place import LocatedTarget, Place
from kvsync.model.plan import TargetPlan, TargetReport
from kvsync.model.snapshot import Snapshot
from kvsync.planning.compare import Comparison, compare
from kvsync.planning.cost import cost_of
from kvsync.planning.plan_inputs import PlanInputs
from kvsync.reconcile.context import ApplyOptions, PassContext
from kvsync.reconcile.edited import EditedTarget, may_plan_edit
from kvsync.reconcile.namespace_deletion import NamespaceDeletion
from kvsync.reconcile.observer import Observer
from kvsync.reconcile.pass_state import PassState
from kvsync.reconcile.pass_time import PassTime
from kvsync.reconcile.reports import applied_report, empty_plan, unchanged_plan, with_restore_point, withheld
from kvsync.reconcile.scope import ignored_keys, own_part
from kvsync.reconcile.store_ledger import StoreLedger
from kvsync.stores.base import Store
from kvsync.stores.extensions import filters_listing
from kvsync.stores.pacing import ConcurrencyLimiter, RetryPolicy
from kvsync.util.background import off_loop

if TYPE_CHECKING:
    from kvsync.apply.engine import Applier
    from kvsync.apply.ports import DeletionPort
    from kvsync.ledger.transfer import PreviousOwner
    from kvsync.state import Run

_log = get_logger()

_SETTLED: Final = (OutcomeKind.APPLIED, OutcomeKind.UNCHANGED)
"""Outcomes after which an entry is as it was planned."""


class TargetPass:
    """One pass over one target: `plan`, then perhaps `apply`.

    `failure` is why the store as a whole was given up, if it was. `siblings` are the other managed namespaces of the store:
    entries of a nested one do not belong to this target.
    """

    def __init__(
        self,
        desired: Desired,
        store: Store,
        place: Place,
        pass_context: PassContext,
        ask: PassOptions,
        siblings: Collection[str] = (),
    ) -> None:
        self._desired, self._store, self._context = desired, store, pass_context
        self._ask, self._siblings = ask, siblings
        self._facts = PlanInputs()
        self._snapshot: Snapshot | None = None
        self._time = PassTime(desired.target, pass_context.limits.pass_time, pass_context.clock)
        self.failure: StoreError | None = None
        self._fence = pass_context.claim(desired.target)
        self._enter(place)

    def _enter(self, place: Place) -> None:
        """Set the place of this pass, with the marks that count there and what is known about it."""
        self._subject = subject = self._context.pass_target(LocatedTarget(self.target, place), self._fence)
        self._rules = self._context.rules(self._desired, self._ask, self._store.capabilities, subject)
        former = self._previous_owner()
        self._observer = Observer(
            self._store, subject, self._context.state, writing=self._context.writing, former=former
        )
        gives_up = self._ask.releases and not self._ask.keys
        self._ledger = StoreLedger(self._store, self._observer.ledger, gives_up=gives_up)
        self._memory = PassState(self._desired, self._context, self._store, subject, retry=self._ask.retry)
        context = self._context
        self._deletion = NamespaceDeletion(
            self._desired, self._store, subject, context.state, self._ask, writing=context.writing
        )
        if self._context.writing and subject.moved_from is not None:
            names = {"store": self.target.store, "namespace": self.target.namespace}
            _log.warning("place.changed", **names, was=subject.moved_from, now=str(place))

    def _previous_owner(self) -> PreviousOwner | None:
        if self._ask.from_owner is None:
            return None
        from kvsync.ledger.transfer import PreviousOwner  # only a transfer pays for it

        return PreviousOwner.of(self._desired, self._ask)

    @property
    def target(self) -> Target:
        """The target of this pass."""
        return self._desired.target

    @property
    def observer(self) -> Observer:
        """The observer of this pass, with its ledger."""
        return self._observer

    async def held(self, key: str | None = None) -> dict[Identity, Actual]:
        """Return what the store holds, under a key or at all, with content except for entries that cannot be read: the
        observer's `unread` says why. Uses the listing that `plan` made; without one, lists the target. Raises StoreError."""
        if self._snapshot is None:
            snapshot = await self._observer.observe(None, deep=False)
            assert snapshot is not None  # no token was given
            self._snapshot = own_part(self._store, snapshot.require_complete(), self._siblings)
        read_entries = self._observer.read_entries
        listed = {
            name: read_entries.get(name, actual)
            for name, actual in self._snapshot.entries.items()
            if key is None or name.key == key
        }
        unread = [name for name, actual in listed.items() if actual.content is None]
        fresh = await self._observer.read_some(unread)
        gone = set(unread) - fresh.keys() - self._observer.unread.keys()
        return {name: fresh.get(name, actual) for name, actual in listed.items() if name not in gone}

    async def missing(self, identities: Sequence[Identity]) -> Mapping[Identity, str]:
        """Why entries cannot be relied on to be in this target; see `presence`. Raises StoreError, StateDirError."""
        from kvsync.reconcile.presence import why_missing

        return await why_missing(self._desired, self._observer, self._rules, identities)

    async def plan(self) -> TargetPlan:
        """Observe, compare, read what differs, and classify. If the store cannot be observed, the plan has an `error`. If files
        have problems, the plan is made of their last good state and contains renewals only. Raises StateDirError."""
        problems = self._desired.problems
        if problems and not self._desired.entries:
            return replace(self._empty(), problems=problems)
        try:
            async with self._time.bounded():
                plan = await self._plan()
        except StoreError as error:
            self.failure = (
                None if isinstance(error, LedgerNotOurs) else error
            )  # which says nothing of the store as a whole
            plan = replace(self._empty(), complete=False, error=str(error), code=error.code)
        return with_restore_point(self._only_renewals(plan) if problems else plan, self._store)

    def _only_renewals(self, plan: TargetPlan) -> TargetPlan:
        """The part of a plan that is applied while files have problems: entries must not expire in the meantime."""
        renewals = tuple(change for change in plan.changes if change.action is Action.RENEW)
        kept = replace(
            self._empty(),
            digest=target_digest(self._rules.digest_key, self.target, self._subject.located.place, renewals),
            complete=plan.complete,
            changes=renewals,
            problems=self._desired.problems,
            error=plan.error,
            next_moment=plan.next_moment,
        )
        return self._ledger.planned(replace(kept, cost=cost_of(kept, self._store.capabilities)), self._rules.now)

    async def _plan(self) -> TargetPlan:
        if self._context.writing and self._store.capabilities.marks is Marks.LEDGER:
            from kvsync.reconcile.recovery import recover

            await recover(self._observer, self._context.state, self._rules.now)
        looks = self._ask.deep or self._ask.keys or self._deletion.is_wanted
        clean = None if looks else self._memory.clean_pass(self._rules.now)
        edited = None if looks or clean is not None else self._edited()
        known = edited.clean if edited is not None else clean
        snapshot = await self._observer.observe(known.token if known else None, deep=self._ask.deep)
        if snapshot is None and edited is not None:
            plan = await self._plan_edited(edited)
            if plan is not None:
                return plan
            snapshot = await self._observer.observe(None, deep=False)
        if snapshot is None:
            assert clean is not None, "a store answers None to a token only"
            subject = self._subject
            plan = unchanged_plan(
                self._rules.digest_key, subject.located, self._store.capabilities.type, clean, subject.moved_from
            )
            self._remember(plan, None)
            return plan
        size = len(self._desired.entries) + len(snapshot.entries)
        snapshot = self._snapshot = await off_loop(partial(own_part, self._store, snapshot, self._siblings), size)
        ignored = await ignored_keys(self._desired, snapshot)
        comparison = await off_loop(partial(self._compared, snapshot, ignored), size)
        self._facts = await self._gather(snapshot, comparison)
        return await off_loop(partial(self._concluded, snapshot, comparison), size)

    def _edited(self) -> EditedTarget | None:
        """What an edit changed since the last clean pass, if nothing else can have changed."""
        if self._siblings or not may_plan_edit(self._desired, self._store, self._ask):
            return None
        return self._memory.edited(self._rules.now)

    async def _plan_edited(self, edited: EditedTarget) -> TargetPlan | None:
        """Plan the edited entries, as a pass over all entries would. None if one cannot be read: only a listing tells whether
        it is there."""
        found, comparison = await self._observer.read_some(edited.identities), edited.comparison()
        if self._observer.unread:
            self._observer.unread.clear()
            return None
        snapshot = edited.snapshot(self._desired, found)
        self._facts = await self._gather(snapshot, comparison)
        plan = self._located_plan(snapshot, comparison)
        self._remember(plan, snapshot, comparison.owned, is_whole=False)
        return plan

    def _compared(self, snapshot: Snapshot, ignored: Callable[[str], bool]) -> Comparison:
        recorded = self._observer.ledger.all  # asked only for what is neither desired nor marked
        return compare(self._desired, snapshot, self._subject.signer, recorded, ignored)

    def _concluded(self, snapshot: Snapshot, comparison: Comparison) -> TargetPlan:
        """Conclude the plan: record it, and add what the store's ledger costs."""
        plan = self._deletion.planned(self._located_plan(snapshot, comparison), snapshot, self._rules.now)
        self._remember(plan, snapshot, comparison.owned)
        return self._ledger.planned(plan, self._rules.now)

    def _located_plan(self, snapshot: Snapshot, comparison: Comparison) -> TargetPlan:
        """The plan with the end of what is deferred, and with where the target was before."""
        plan = self._with_local_times(snapshot, comparison)
        moment, moved_from = self._memory.next_moment(plan), self._subject.moved_from
        if (moment, moved_from) == (plan.next_moment, None):
            return plan
        return replace(plan, next_moment=moment, moved_from=moved_from)

    def _with_local_times(self, snapshot: Snapshot, comparison: Comparison) -> TargetPlan:
        """The plan by the store's time, with its next moment by this machine's time."""
        from kvsync.planning.plan_target import plan_target  # an unchanged target does not pay for it

        ahead = self._ahead()
        rules, facts = self._rules, self._facts
        if ahead:
            rules, facts = replace(rules, now=rules.now + ahead), facts.shifted(ahead)
        plan = plan_target(self._desired, snapshot, comparison, facts, rules, self._store.capabilities)
        return plan if plan.next_moment is None else replace(plan, next_moment=plan.next_moment - ahead)

    def _ahead(self) -> float:
        """Seconds by which the store's clock is ahead of this machine's; 0 unless that one is wrong."""
        clock = self._store.context.clock
        found = clock.now() - clock.local()
        return found if abs(found) > 1 else 0.0

    async def _gather(self, snapshot: Snapshot, comparison: Comparison) -> PlanInputs:
        """Read what differs, and what was last applied of it."""
        from kvsync.planning.plan_target import is_as_written

        entries, differing = self._desired.entries, comparison.differing
        applied = await off_loop(partial(self._observer.ledger.get, differing), len(differing))
        settling = self._memory.settling(self._rules.now)
        late = [identity for identity in differing if identity in settling] if settling else []
        doubtful = [identity for identity in late if not is_as_written(entries.get(identity), applied.get(identity))]
        if filters_listing(self._store):
            doubtful += [identity for identity in differing if identity not in snapshot.entries]
        found = await self._observer.read_differing(self._desired, snapshot, comparison, doubtful)

        def shown() -> dict[Identity, Actual]:
            return {identity: self._observer.shown(actual, entries.get(identity)) for identity, actual in found.items()}

        return PlanInputs(
            actual=await off_loop(shown, len(found)),
            applied=applied,
            undesired_since=self._memory.undesired_since(),
            settling=settling,
            overwritten=self._memory.overwritten(set(late), self._rules.now),
            blocked=self._blocked if self._observer.unread or self._memory.may_block else None,
            grace=self._ask.grace,
            keys=self._ask.keys,
        )

    def _blocked(self, change: Change) -> str | None:
        """Why a change must wait: its entry cannot be read, or it is deferred."""
        unread = self._observer.unread.get(change.identity)
        return self._memory.blocked(change) if unread is None else f"it could not be read: {unread}"

    def _empty(self) -> TargetPlan:
        subject = self._subject
        return empty_plan(self._rules.digest_key, subject.located, self._store.capabilities.type, subject.moved_from)

    def _remember(self, plan: TargetPlan, snapshot: Snapshot | None, owned: int = 0, *, is_whole: bool = True) -> None:
        """Record what the pass found: `owned` entries in the store that are ours. The snapshot `is_whole`, or has the edited
        entries alone."""
        if not self._context.writable or self._ask.keys:
            return
        has_grace = self._ask.grace > 0 or self._desired.policy.guard.grace > 0
        with self._context.remembering():
            self._memory.keep_removals(plan, self._rules.now, has_grace=has_grace)
            if snapshot is not None and is_whole and self._context.writing:
                self._memory.backfill_ledger(plan, snapshot, self._observer, self._facts.settling)
            if snapshot is not None:
                from kvsync.planning.plan_target import may_be_stale

                is_due = snapshot.token is not None and self._ledger.is_due(self._rules.now)
                is_partial = filters_listing(self._store) and not self._facts.actual.keys() <= snapshot.entries.keys()
                is_unsure = is_due or is_partial or may_be_stale(self._facts)
                self._memory.keep_clean_pass(plan, snapshot, owned, is_unsure=is_unsure)

    async def apply(self, plan: TargetPlan, applying: ApplyOptions) -> TargetReport:
        """Apply the changes of a plan that this pass made, or some of them. Raises StateDirError."""
        self._context.claim(self.target, self._fence)
        self._memory.drop_clean_pass()
        with self._time.counted():
            try:
                await self._locate_again()
                await self._ledger.announce(plan, applying.pace, applying.stop)
            except StoreError as failure:
                self.failure = None if isinstance(failure, LedgerNotOurs) else failure
                return withheld(plan, "", failure)
            report = await self._applier(applying).run([Step(change) for change in plan.changes])
            error = await self._record(plan, report, applying)
        return applied_report(plan, report, error)

    def _applier(self, applying: ApplyOptions) -> Applier:
        from kvsync.apply.engine import Applier  # a plan does not pay for it

        clock, retry = self._store.context.clock, RetryPolicy(deadline=self._context.limits.retry_time)
        options = applying.applier_options(self._replan, self._time, retry)
        subject = self._subject
        return Applier(self._store, subject.located, subject.signer, applying.run, clock, options)

    async def _record(self, plan: TargetPlan, report: ApplyReport, applying: ApplyOptions) -> str | None:
        """Record what applying came to, last in the store's ledger; returns why the pass failed, None if it did not."""
        self._memory.keep_report(plan, report, self._context.clock.now())
        self._deletion.keep(plan, report.outcomes, self._context.clock.now())
        self.failure = report.store_error
        error = str(report.store_error) if report.store_error else None
        if report.store_error is None or isinstance(report.store_error, PassOverdue):
            kept = _unreleased(plan, report.outcomes) if self._ledger.gives_up else None
            error = await self._finish(kept, applying.pace, applying.stop) or error
        return error

    async def _locate_again(self) -> None:
        """Check right before the first write that the names still lead to the planned place. Raises StoreError."""
        planned = self._subject.located.place
        place = await self._context.places.confirm(self._subject.located)
        if place.key != planned.key or place.is_resolved is not planned.is_resolved:
            self._enter(place)

    async def delete_namespace(self, plan: TargetPlan, run: Run, deletions: DeletionPort | None) -> TargetReport:
        """Delete the namespace, as planned. Raises StateDirError."""
        self._context.claim(self.target, self._fence)
        self._memory.drop_clean_pass()
        return await self._deletion.carry_out(plan, run, deletions)

    async def leave_ledger(self, plan: TargetPlan, pace: ConcurrencyLimiter, stop: Callable[[], bool]) -> TargetReport:
        """Write the ledger that the store keeps if it is out of date, or give it up, in a pass that writes nothing else. Raises
        StateDirError."""
        self._context.claim(self.target, self._fence)
        gives_up = self._ledger.gives_up and plan.complete
        if not gives_up and not self._ledger.is_due(self._context.clock.now()):
            return withheld(plan, "")
        try:
            await self._locate_again()
        except StoreError as failure:
            self._memory.drop_clean_pass()
            return replace(withheld(plan, ""), error=str(failure))
        error = await self._finish({one.identity for one in plan.refused} if gives_up else None, pace, stop)
        return replace(withheld(plan, ""), error=error)

    async def _finish(
        self, kept: Collection[Identity] | None, pace: ConcurrencyLimiter, stop: Callable[[], bool]
    ) -> str | None:
        """Write the store's ledger, or give it up except for `kept`; returns why that failed."""
        if kept is None and not self._ask.leaves_ledger:
            return None
        error = await self._ledger.finish(kept, pace, stop)
        if error is not None:
            self._memory.drop_clean_pass()
        return error

    async def _replan(self, identity: Identity, _approved: Change) -> Change | Refusal | None:
        """Observe one entry and classify it again."""
        fresh = await self._observer.reread(identity)
        entry = self._desired.entries.get(identity)
        actual = {} if fresh is None else {identity: self._observer.shown(fresh, entry)}
        applied = self._facts.applied
        if identity not in applied:  # an entry that the plan had nothing to say of, such as the new name of a move
            applied = self._observer.ledger.get([identity])
        from kvsync.planning.plan_target import classify_identity

        rules = replace(self._rules, now=self._context.clock.now() + self._ahead())
        facts = replace(self._facts, actual=actual, applied=applied, settling={})
        verdict = classify_identity(identity, self._desired, facts, rules)
        return verdict if isinstance(verdict, Change | Refusal) else None


def _unreleased(plan: TargetPlan, outcomes: Sequence[Outcome]) -> set[Identity]:
    """The entries that a release could not change."""
    left = {one.identity for one in outcomes if one.kind not in _SETTLED}
    return left.union(one.identity for one in plan.refused)
