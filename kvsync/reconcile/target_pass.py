"""One pass over one target: each step is a line of `plan` or `apply`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from kvsync.apply.engine import Applier
from kvsync.apply.model import ApplyReport
from kvsync.apply.store_access import ApplierOptions
from kvsync.errors import PassOverdue, StoreError
from kvsync.ledger.found import LedgerNotOurs
from kvsync.logs import get_logger
from kvsync.model.capabilities import Marks
from kvsync.model.digest import target_digest
from kvsync.model.entry import (
    Action,
    Actual,
    Applied,
    Change,
    Desired,
    Identity,
    Mode,
    Outcome,
    OutcomeKind,
    Refusal,
    Snapshot,
    Target,
)
from kvsync.model.pass_options import PassOptions
from kvsync.model.place import LocatedTarget, Place
from kvsync.model.plan import TargetPlan, TargetReport
from kvsync.planning.compare import Comparison, compare, judged_keys, key_matcher
from kvsync.planning.cost import cost_of
from kvsync.planning.ledger_only import is_ledger_only
from kvsync.planning.ownership import Claim, claim_of
from kvsync.planning.pass_target import PassTarget
from kvsync.planning.plan_inputs import PlanInputs
from kvsync.planning.plan_target import is_as_written, judge, plan_target, shows_the_past
from kvsync.planning.verdict import Rules
from kvsync.reconcile.context import ApplyOptions, PassContext
from kvsync.reconcile.observer import Observer
from kvsync.reconcile.pass_state import PassState
from kvsync.reconcile.pass_time import PassTime
from kvsync.reconcile.recovery import recover
from kvsync.state import Memo
from kvsync.stores.base import Store
from kvsync.stores.extensions import NestedNamespaces, ledger_keeper
from kvsync.stores.pacing import Pace, RetryPolicy
from kvsync.util.background import in_background, off_loop

_log = get_logger()

_FEW_COMPARISONS: Final = 1_000_000
"""Characters of patterns, times keys, that are matched in the event loop: some milliseconds. Beyond, a thread costs less."""

_SETTLED: Final = (OutcomeKind.APPLIED, OutcomeKind.UNCHANGED)
"""Outcomes after which an entry is as it was planned."""


class TargetPass:
    """One pass over one target: `plan`, then perhaps `apply`. `failure` is why the store as a whole was given up, if it was.

    `siblings` are the other namespaces of the store that are managed: what lies in one of them is not this target's.
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
        self._enter(place)

    def _enter(self, place: Place) -> None:
        """Work at this place: what is known of it, and the marks that count there."""
        self._subject = subject = self._context.pass_target(LocatedTarget(self._desired.target, place))
        self._rules = _rules(self._desired, self._context, self._ask, self._store, subject)
        self._observer = Observer(self._store, subject, self._context.state, writing=self._context.writing)
        self._memory = PassState(self._desired, self._context, self._store, subject, retry=self._ask.retry)
        if self._context.writing and subject.moved_from is not None:
            names = {"store": self.target.store, "namespace": self.target.namespace}
            _log.warning("place.changed", **names, was=subject.moved_from, now=str(place))

    @property
    def target(self) -> Target:
        """The target of this pass."""
        return self._desired.target

    @property
    def observer(self) -> Observer:
        """The observer of this pass, with its ledger."""
        return self._observer

    async def held(self, key: str) -> dict[Identity, Actual]:
        """Return what the store holds under a key, with content except for what cannot be read: the observer's `unread` says
        why. Takes the listing that `plan` made, and lists the target only where there is none. Raises StoreError."""
        if self._snapshot is None:
            snapshot = await self._observer.observe(None, deep=False)
            assert snapshot is not None  # no token was given
            self._snapshot = self._own_part(snapshot)
        read_entries = self._observer.read_entries
        listed = {
            name: read_entries.get(name, actual) for name, actual in self._snapshot.entries.items() if name.key == key
        }
        unread = [name for name, actual in listed.items() if actual.content is None]
        fresh = await self._observer.read_some(unread)
        gone = set(unread) - fresh.keys() - self._observer.unread.keys()
        return {name: fresh.get(name, actual) for name, actual in listed.items() if name not in gone}

    async def missing(self, identities: Sequence[Identity]) -> Mapping[Identity, str]:
        """Why entries cannot be relied on to be in this target, as words that follow their names. Those that are as the
        files ask, and proven to be ours, are left out. Raises StoreError, StateDirError."""
        if self._desired.problems:
            return dict.fromkeys(identities, "is in a target that is held because of problems with its files")
        found, known = await self._observer.read(identities), self._observer.ledger.get(identities)
        reasons = {name: self._why_missing(name, found.get(name), known.get(name)) for name in identities}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def _why_missing(self, name: Identity, found: Actual | None, last: Applied | None) -> str | None:
        entry = self._desired.entries.get(name)
        if entry is None:
            return "is not in the files"
        if found is None:
            return "is not there yet"
        if claim_of(found, last, self._subject.signer, self._rules.now) is not Claim.OWNED:
            return "exists there, but kvsync does not own it"
        is_right = entry.mode is not Mode.ENFORCE or found.fingerprint == entry.fingerprint
        return None if is_right else "is not as desired there"

    async def plan(self) -> TargetPlan:
        """Observe, compare, look closer, judge. A store that cannot be observed is in the plan's `error`. Where files have
        problems, what is desired is what they last asked without, and nothing but its renewals is planned. Raises
        StateDirError."""
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
            plan = replace(self._empty(), complete=False, error=str(error))
        return self._only_renewals(plan) if problems else plan

    def _only_renewals(self, plan: TargetPlan) -> TargetPlan:
        """What may be done while files have problems: a state is not kept when its lifetimes run out."""
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
        return self._with_ledger(replace(kept, cost=cost_of(kept, self._store.capabilities)))

    async def _plan(self) -> TargetPlan:
        if self._context.writing and self._store.capabilities.marks is Marks.LEDGER:
            await recover(self._observer, self._context.state, self._rules.now)
        memo = None if self._ask.deep or self._ask.keys else self._memory.memo(self._rules.now)
        snapshot = await self._observer.observe(memo.token if memo else None, deep=self._ask.deep)
        if snapshot is None:
            plan = self._as_before(memo)
            self._remember(plan, None)
            return plan
        size = len(self._desired.entries) + len(snapshot.entries)
        snapshot = self._snapshot = await off_loop(partial(self._own_part, snapshot), size)
        ignored = await self._ignored(snapshot)
        comparison = await off_loop(partial(self._compared, snapshot, ignored), size)
        self._facts = await self._gather(snapshot, comparison)
        return await off_loop(partial(self._concluded, snapshot, comparison), size)

    def _compared(self, snapshot: Snapshot, ignored: Callable[[str], bool]) -> Comparison:
        return compare(self._desired, snapshot, self._subject.signer, self._observer.ledger.all().keys, ignored)

    def _concluded(self, snapshot: Snapshot, comparison: Comparison) -> TargetPlan:
        """The plan, remembered, and with what the store's ledger takes."""
        plan = self._judged(snapshot, comparison)
        moment, moved_from = self._memory.next_moment(plan), self._subject.moved_from
        if (moment, moved_from) != (plan.next_moment, None):
            plan = replace(plan, next_moment=moment, moved_from=moved_from)
        self._remember(plan, snapshot)
        return self._with_ledger(plan)

    def _judged(self, snapshot: Snapshot, comparison: Comparison) -> TargetPlan:
        """The plan by the store's time, with its next moment by this machine's."""
        ahead = self._ahead()
        rules, facts = self._rules, self._facts
        if ahead:
            rules, facts = replace(rules, now=rules.now + ahead), facts.shifted(ahead)
        plan = plan_target(self._desired, snapshot, comparison, facts, rules, self._store.capabilities)
        return plan if plan.next_moment is None else replace(plan, next_moment=plan.next_moment - ahead)

    def _ahead(self) -> float:
        """Seconds that the store's clock is ahead of this machine's; 0 unless the latter is wrong."""
        clock = self._store.context.clock
        found = clock.now() - clock.local()
        return found if abs(found) > 1 else 0.0

    async def _ignored(self, snapshot: Snapshot) -> Callable[[str], bool]:
        """The test for keys that the policy ignores. State files add patterns to it, so that many of them are matched in a
        thread: they may cost their own target time, but not the event loop."""
        globs = self._desired.policy.ignore
        keys = list(judged_keys(self._desired, snapshot)) if globs else []
        if sum(map(len, globs)) * (len(keys) + 1) < _FEW_COMPARISONS:
            return key_matcher(globs)

        def found() -> frozenset[str]:
            is_ignored = key_matcher(globs)
            return frozenset(key for key in keys if is_ignored(key))

        return (await in_background(found)).__contains__

    def _own_part(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot without what lies in other targets: they alone judge it, whatever this one may prune."""
        if not self._siblings or not isinstance(self._store, NestedNamespaces):
            return snapshot
        nested_namespace, namespace = self._store.nested_namespace, self.target.namespace
        others = {key for key in snapshot.entries if nested_namespace(namespace, key, self._siblings) is not None}
        if not others:
            return snapshot
        entries = {key: one for key, one in snapshot.entries.items() if key not in others}
        return replace(
            snapshot, entries=entries, settled={key: one for key, one in snapshot.settled.items() if key in entries}
        )

    def _with_ledger(self, plan: TargetPlan) -> TargetPlan:
        """The plan, with what it takes to leave the ledger in the store, where it is kept there too."""
        if ledger_keeper(self._store) is None:
            return plan
        ledger, now = self._observer.ledger, self._rules.now
        is_due = bool(plan.changes) or ledger.is_due(now)
        moments = (plan.next_moment, ledger.next_moment(now, is_due=is_due))
        plan = replace(plan, next_moment=min((one for one in moments if one is not None), default=None))
        if not is_due:
            return plan
        new = [change.identity for change in plan.changes if change.after is not None and self._is_new(change)]
        return replace(plan, cost=plan.cost.plus(ledger.cost(new)))

    async def _gather(self, snapshot: Snapshot, comparison: Comparison) -> PlanInputs:
        """Look closer at what differs, and remember what was last applied of it."""
        entries, differing = self._desired.entries, comparison.differing
        applied = await off_loop(partial(self._observer.ledger.get, differing), len(differing))
        settling = self._memory.settling(self._rules.now)
        late = [identity for identity in differing if identity in settling] if settling else []
        doubtful = [identity for identity in late if not is_as_written(entries.get(identity), applied.get(identity))]
        found = await self._observer.read_differing(self._desired, snapshot, comparison, doubtful)

        def shown() -> dict[Identity, Actual]:
            return {identity: self._observer.shown(actual, entries.get(identity)) for identity, actual in found.items()}

        return PlanInputs(
            actual=await off_loop(shown, len(found)),
            applied=applied,
            undesired_since=self._memory.undesired_since(),
            settling=settling,
            overwritten=self._memory.overwritten(set(late), self._rules.now),
            blocked=self._blocked,
            grace=self._ask.grace,
            keys=self._ask.keys,
        )

    def _blocked(self, change: Change) -> str | None:
        """Why a change must wait: its entry cannot be read, or what the memory knows."""
        unread = self._observer.unread.get(change.identity)
        return self._memory.blocked(change) if unread is None else f"it could not be read: {unread}"

    def _empty(self) -> TargetPlan:
        plan = empty_plan(self._rules.digest_key, self._subject.located, self._store.capabilities.type)
        return replace(plan, moved_from=self._subject.moved_from)

    def _as_before(self, memo: Memo | None) -> TargetPlan:
        """The plan of a target of which the store says that nothing changed since a clean pass."""
        assert memo is not None
        counts = memo.counts
        return replace(
            self._empty(),
            unchanged=counts["unchanged"],
            foreign=counts["foreign"],
            ignored=counts["ignored"],
            expired=counts["expired"],
            orphans=counts.get("orphans", 0),
            next_moment=memo.next_moment,
        )

    def _remember(self, plan: TargetPlan, snapshot: Snapshot | None) -> None:
        if not self._context.writable or self._ask.keys:
            return
        has_grace = self._ask.grace > 0 or self._desired.policy.guard.grace > 0
        with self._context.remembering():
            self._memory.keep_removals(plan, self._rules.now, has_grace=has_grace)
            if snapshot is not None and self._context.writing:
                self._memory.backfill_ledger(plan, snapshot, self._observer, self._facts.settling)
            if snapshot is not None:
                is_due = snapshot.token is not None and self._observer.ledger.is_due(self._rules.now)
                self._memory.keep_memo(plan, snapshot, is_unsure=is_due or shows_the_past(self._facts))

    async def apply(self, plan: TargetPlan, applying: ApplyOptions) -> TargetReport:
        """Apply the changes of a plan that this pass made, or some of them. Raises StateDirError."""
        with self._time.counted():
            return await self._apply(plan, applying)

    async def _apply(self, plan: TargetPlan, applying: ApplyOptions) -> TargetReport:
        self._memory.drop_memo()
        try:
            await self._locate_again()
            await self._announce(plan, applying)
        except StoreError as failure:
            self.failure = None if isinstance(failure, LedgerNotOurs) else failure
            return withheld(plan, "", error=str(failure))
        applier = Applier(
            self._store,
            self._subject.located,
            self._subject.signer,
            applying.run,
            self._store.context.clock,
            ApplierOptions(
                replan=self._replan,
                stop=applying.stop,
                time=self._time,
                progress=applying.progress,
                retry=RetryPolicy(deadline=self._context.limits.retry_time),
                pace=applying.pace,
                deletions=applying.deletions,
                arrived=applying.arrived,
            ),
        )
        report = await applier.run(plan.changes)
        self._memory.keep_report(plan, report, self._context.clock.now())
        self.failure = report.store_error
        error = str(report.store_error) if report.store_error else None
        if report.store_error is None or isinstance(report.store_error, PassOverdue):
            error = await self._finish(plan, report, applying) or error
        return target_report(plan, report, report.outcomes + _unapplied(plan), error)

    async def _announce(self, plan: TargetPlan, applying: ApplyOptions) -> None:
        """Let the store's ledger say what is about to be made. One that cannot be written now is not a reason to write
        nothing: the state directory knows. Raises LedgerNotOurs, StateDirError."""
        new = [change.after for change in plan.changes if change.after is not None and self._is_new(change)]
        try:
            await self._observer.ledger.announce(new, applying.pace, self._context.clock, applying.stop)
        except LedgerNotOurs:
            raise
        except StoreError:
            return  # said again with the outcome

    def _is_new(self, change: Change) -> bool:
        """True when a change writes an entry that was not ours before."""
        is_known = change.before is not None and change.before.mark is not None
        return not is_known and not is_ledger_only(change, self._store.capabilities)

    async def _locate_again(self) -> None:
        """See right before the first write that the names still lead to the place that was planned. Raises StoreError."""
        planned = self._subject.located.place
        place = await self._context.places.confirm(self._subject.located)
        if place.key != planned.key or place.is_resolved is not planned.is_resolved:
            self._enter(place)

    async def leave_ledger(self, plan: TargetPlan, pace: Pace, stop: Callable[[], bool]) -> str | None:
        """Write the ledger that the store keeps if it is out of date, or give it up, in a pass that writes nothing else;
        returns why that could not be done. Raises StateDirError."""
        gives_up = self._gives_up and plan.complete
        if not gives_up and not self._observer.ledger.is_due(self._context.clock.now()):
            return None
        try:
            await self._locate_again()
        except StoreError as error:
            self._memory.drop_memo()
            return str(error)
        if gives_up:
            return await self._give_up({one.identity for one in plan.refused}, pace, stop)
        return await self._leave_ledger(pace, stop)

    async def _finish(self, plan: TargetPlan, report: ApplyReport, applying: ApplyOptions) -> str | None:
        """Leave the ledger in the store, or give it up after a release; returns why that could not be done."""
        if not self._gives_up:
            return await self._leave_ledger(applying.pace, applying.stop)
        left = {one.identity for one in report.outcomes if one.kind not in _SETTLED}
        return await self._give_up(left.union(one.identity for one in plan.refused), applying.pace, applying.stop)

    @property
    def _gives_up(self) -> bool:
        """True when nothing is to be known of this place any more."""
        return self._ask.releases and not self._ask.keys

    async def _give_up(self, kept: Collection[Identity], pace: Pace, stop: Callable[[], bool]) -> str | None:
        return await self._observer.ledger.give_up(kept, pace, self._context.clock, stop)

    async def _leave_ledger(self, pace: Pace, stop: Callable[[], bool]) -> str | None:
        if not self._ask.leaves_ledger:
            return None
        error = await self._observer.ledger.leave(pace, self._context.clock, stop)
        if error is not None:
            self._memory.drop_memo()
        return error

    async def _replan(self, identity: Identity, _approved: Change) -> Change | Refusal | None:
        """Observe one entry and judge it again."""
        fresh = await self._observer.look_again(identity)
        entry = self._desired.entries.get(identity)
        actual = {} if fresh is None else {identity: self._observer.shown(fresh, entry)}
        applied = self._facts.applied
        if identity not in applied:  # an entry that the plan had nothing to say of, such as the new name of a move
            applied = self._observer.ledger.get([identity])
        rules = replace(self._rules, now=self._context.clock.now() + self._ahead())
        facts = replace(self._facts, actual=actual, applied=applied, settling={})
        verdict = judge(identity, self._desired, facts, rules)
        return verdict if isinstance(verdict, Change | Refusal) else None


def empty_plan(digest_key: bytes, located: LocatedTarget, type_: str) -> TargetPlan:
    """A plan of a target in which nothing is to be done."""
    return TargetPlan(located.target, type_, target_digest(digest_key, *located, ()), place=located.place)


def target_report(
    plan: TargetPlan, report: ApplyReport, outcomes: tuple[Outcome, ...], error: str | None
) -> TargetReport:
    """The report of a target, with what applying says of deletes that wait."""
    until = report.grant.budget.free_at if report.grant is not None and report.deletes_waiting else None
    return TargetReport(plan, outcomes, error, report.deletes_waiting, until)


def withheld(plan: TargetPlan, reason: str, *, error: str | None = None) -> TargetReport:
    """The report of a target whose plan was not applied at all."""
    untried = [Outcome(one.identity, one.action, OutcomeKind.NOT_ATTEMPTED, error or reason) for one in plan.changes]
    return TargetReport(plan, (*untried, *_unapplied(plan)), error)


def _unapplied(plan: TargetPlan) -> tuple[Outcome, ...]:
    """Outcomes of what a plan holds besides its changes: refused, or only reported."""
    refused = [Outcome(one.identity, one.action, OutcomeKind.REFUSED, one.reason) for one in plan.refused]
    reported = [Outcome(one.identity, one.action, OutcomeKind.SKIPPED, "reported only") for one in plan.reported]
    return (*refused, *reported)


def _rules(desired: Desired, pass_context: PassContext, ask: PassOptions, store: Store, subject: PassTarget) -> Rules:
    policy, now, longest = desired.policy, pass_context.clock.now(), store.capabilities.longest
    key, adopt = pass_context.state.digest_key, ask.adopt or policy.adopt
    return Rules(
        subject.signer, now, key, policy.prune, adopt, ask.allow_protected, longest, ask.from_owner, ask.releases
    )
