"""Passes over all targets of a workspace: several at a time, kept from plan to apply."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from kvsync.app.crashes import CrashGuard
from kvsync.app.moves_between import combined, has_outgoing_moves, leaving, staying
from kvsync.app.parking import Parking
from kvsync.app.wave_records import SyncRecords
from kvsync.desired import DesiredState
from kvsync.errors import Problem, StoreError
from kvsync.model.desired import Desired
from kvsync.model.digest import target_digest
from kvsync.model.entry import Identity, Target
from kvsync.model.pass_options import PassOptions
from kvsync.model.place import LocatedTarget, Overlap, Place
from kvsync.model.plan import TargetPlan, TargetReport
from kvsync.reconcile import ApplyOptions, PassContext, empty_plan, withheld
from kvsync.state.deletions import LimitedDeletions
from kvsync.stores.base import Store
from kvsync.stores.extensions import as_ledger_keeping
from kvsync.util.concurrency import gather_by_group
from kvsync.util.values import dataclass
from kvsync.util.waits import waiting_place

if TYPE_CHECKING:
    from kvsync.reconcile import TargetPass
    from kvsync.state import Run
    from kvsync.stores.pacing import ConcurrencyLimiter

PASSES_PER_STORE: Final = 8
"""Targets of one store in work at the same time, or more where more calls may be in flight: enough to hide the latency of a
store, few enough that thousands of targets do not hold their snapshots in memory together."""


@dataclass(frozen=True, slots=True)
class ApplyRun:
    """One run over all targets: its journal, when to stop, who receives progress, and what grants deletes."""

    run: Run
    stop: Callable[[], bool]
    progress: Callable[[int], None]
    deletions: LimitedDeletions


class TargetPasses:
    """Plans and applies targets of `stores`, which may get more stores later. A pass is kept only if there is something left to
    do with it."""

    def __init__(
        self, stores: Mapping[str, Store], pass_context: PassContext, parking: Parking, records: SyncRecords
    ) -> None:
        self._stores, self.context, self._parking, self._records = stores, pass_context, parking, records
        self._places = pass_context.places
        self._passes: dict[Target, TargetPass] = {}
        self._failures: dict[Target, StoreError] = {}
        self._loaded: dict[Target, DesiredState] = {}
        self._paces: dict[str, ConcurrencyLimiter] = {}

    async def plan(self, targets: Sequence[Target], loaded: DesiredState, ask: PassOptions) -> list[TargetPlan]:
        """Plan targets, in their order. Raises StateDirError; what goes wrong in a store is in the plan."""
        plans = await self._plan_unchanged(targets, loaded, ask) if len(targets) > 1 else {}
        rest = [target for target in targets if target not in plans]
        work = partial(self._plan_target, loaded=loaded, ask=ask)
        done = await gather_by_group(rest, work, group=lambda target: target.store, limit=self._limit)
        plans |= {one.target: one for one in done}
        return [plans[target] for target in targets]

    async def apply(self, plans: Sequence[TargetPlan], run: ApplyRun) -> list[TargetReport]:
        """Apply plans that were made here. Entries that move to other targets are deleted last, after everything else was
        written but entries with `after: all`. Raises StateDirError."""
        work = partial(self._apply_target, run=run)
        parts = [one for one in map(staying, plans) if one.changes or one.deletes_namespace]
        done = await gather_by_group(parts, work, group=_store_of, limit=self._limit)
        before = {one.plan.target: one for one in done}
        parts = [leaving(one, before.get(one.target)) for one in plans if has_outgoing_moves(one)]
        done += await gather_by_group(parts, work, group=_store_of, limit=self._limit)
        return [combined(one, [part for part in done if part.plan.target == one.target]) for one in plans]

    async def leave_unwritten(
        self, plans: Sequence[TargetPlan], released: Collection[Target], stop: Callable[[], bool]
    ) -> list[TargetReport]:
        """Reports of targets in which no entry is written; ledgers in stores may be. Raises StateDirError."""
        work = partial(self._unchanged, released=released, stop=stop)
        return await gather_by_group(plans, work, group=_store_of, limit=self._limit)

    def target_pass(self, target: Target, place: Place, loaded: DesiredState, ask: PassOptions) -> TargetPass:
        """A pass over one target with what was loaded; if its files have problems, with its last good state. Raises
        StoreError, StateDirError."""
        return self._with(self.context, target, place, loaded, ask)

    def _with(
        self,
        context: PassContext,
        target: Target,
        place: Place,
        loaded: DesiredState,
        ask: PassOptions = PassOptions(),  # noqa: B008 - frozen
    ) -> TargetPass:
        from kvsync.reconcile import TargetPass  # a plan of unchanged targets does not pay for it

        problems = _problems(loaded, target)
        known = loaded.kept if problems else loaded.targets
        desired = known.get(target) or Desired(target, {}, {}, digest="")
        if problems is not desired.problems:
            desired = replace(desired, problems=problems)
        return TargetPass(desired, self._stores[target.store], place, context, ask, loaded.others(target))

    def failure(self, target: Target) -> StoreError | None:
        """Why the store was given up in the last pass over a target, None if it was not."""
        last = self._passes.get(target)
        return last.failure if last else self._failures.get(target)

    async def _plan_unchanged(
        self, targets: Sequence[Target], loaded: DesiredState, ask: PassOptions
    ) -> dict[Target, TargetPlan]:
        """The plans of targets that need no pass of their own, because nothing changed in them. Raises StateDirError."""
        from kvsync.reconcile.unchanged import UnchangedTargets  # a pass of one target does not pay for it

        unchanged = UnchangedTargets(self._stores, self.context)
        known = (loaded.targets.get(target) for target in targets if not _problems(loaded, target))
        plans: dict[Target, TargetPlan] = {}
        for plan in await unchanged.find([one for one in known if one is not None], ask):
            with suppress(StoreError), CrashGuard(plan.target, "planning"):  # then the target has a pass of its own
                if await self._places.overlap_of(plan.target) is None:
                    unchanged.keep(plan)
                    self._finish_plan(plan, loaded, ask)
                    plans[plan.target] = plan
        return plans

    def _finish_plan(self, plan: TargetPlan, loaded: DesiredState, ask: PassOptions) -> None:
        target = plan.target
        self._failures.pop(target, None)
        self._passes.pop(target, None)
        self._loaded.pop(target, None)
        if self.context.writing:
            self._records.planned(plan, loaded, ask)

    async def _plan_target(self, target: Target, loaded: DesiredState, ask: PassOptions) -> TargetPlan:
        with CrashGuard(target, "planning") as guard:
            return await self._plan_one(target, loaded, ask)
        failure = guard.failure
        self._passes.pop(target, None)
        self._failures[target] = failure
        type_ = self._stores[target.store].capabilities.type
        digest = target_digest(self.context.state.digest_key, target, None, ())
        return TargetPlan(target, type_, digest, complete=False, error=str(failure), code=failure.code)

    async def _plan_one(self, target: Target, loaded: DesiredState, ask: PassOptions) -> TargetPlan:
        self._failures.pop(target, None)
        try:
            place = await self._places.locate(target)
            overlap = await self._places.overlap_of(target)
            if overlap is not None:
                return self._parked_at(LocatedTarget(target, place), overlap, loaded)
            last = self.target_pass(target, place, loaded, ask)
        except StoreError as error:
            self._failures[target] = error
            located = LocatedTarget(target, self._stores[target.store].place(target.namespace))
            plan = empty_plan(self.context.state.digest_key, located, self._stores[target.store].capabilities.type)
            failed = replace(plan, complete=False, error=str(error), code=error.code)
            return replace(failed, problems=_problems(loaded, target))
        plan = await last.plan()
        if (desired := loaded.targets.get(target)) is not None and desired.moved:
            from kvsync.app.arrivals import with_arriving_descriptions  # only a move pays for it

            plan = await with_arriving_descriptions(plan, desired, self._stores, self._places)
        if self.context.writing:
            self._records.planned(plan, loaded, ask)
        self._loaded.pop(target, None)
        if has_outgoing_moves(plan):
            self._loaded[target] = loaded
        is_needed = plan.changes or plan.deletes_namespace or last.failure is not None or ask.releases
        if is_needed or as_ledger_keeping(self._stores[target.store]):
            self._passes[target] = last
        else:  # nothing needs it any more, and thousands of passes take much memory
            self._passes.pop(target, None)
        return plan

    def _parked_at(self, located: LocatedTarget, overlap: Overlap, loaded: DesiredState) -> TargetPlan:
        """The plan of a target that leads to where another one leads too: nothing is done, and no approval changes that."""
        self._passes.pop(located.target, None)
        plan = empty_plan(self.context.state.digest_key, located, self._stores[located.target.store].capabilities.type)
        return replace(plan, parked=(self._places.text(overlap),), problems=_problems(loaded, located.target))

    def _limit(self, store: str) -> int:
        """How many targets of a store are in work at the same time."""
        opened = self._stores.get(store)
        calls = 1 if opened is None else opened.config.concurrency or opened.capabilities.concurrency
        return max(PASSES_PER_STORE, calls)

    async def _apply_target(self, plan: TargetPlan, run: ApplyRun) -> TargetReport:
        last, target = self._passes[plan.target], plan.target
        report: TargetReport | None = None
        with waiting_place(f"store {target.store}"), CrashGuard(target, "applying") as guard:
            if not plan.deletes_namespace:
                report = await last.apply(plan, self._apply_options(target, run))
            elif run.stop() or self.context.state.pauses.is_paused(target):
                report = withheld(plan, "")
            else:
                report = await last.delete_namespace(plan, run.run, run.deletions)
        report = report or _crash_report(last, plan, guard)
        if plan.parked:
            self._parking.consume(report)
        return report

    def _apply_options(self, target: Target, run: ApplyRun) -> ApplyOptions:
        files = self._loaded.get(target)
        arrived = None if files is None else partial(self._missing, files)
        return ApplyOptions(run.run, self._pace(target.store), run.stop, run.progress, run.deletions, arrived)

    async def _missing(
        self, files: DesiredState, target: Target, identities: Sequence[Identity]
    ) -> Mapping[Identity, str]:
        """Why entries cannot be relied on to be in the target that they move to. That one is only read: another replica may
        work on it. Raises StoreError, StateDirError."""
        place = await self._places.locate(target)
        reading = replace(self.context, writing=False)
        return await self._with(reading, target, place, files).missing(identities)

    async def _unchanged(
        self, plan: TargetPlan, released: Collection[Target], stop: Callable[[], bool]
    ) -> TargetReport:
        """The report of a target in which no entry is written; its ledger may be."""
        if plan.target not in released:
            return withheld(plan, "the target is parked")
        last = self._passes.get(plan.target)
        if last is None or plan.error or self.context.state.pauses.is_paused(plan.target):
            return withheld(plan, "")
        with waiting_place(f"store {plan.target.store}"), CrashGuard(plan.target, "applying") as guard:
            return await last.leave_ledger(plan, self._pace(plan.target.store), stop)
        return _crash_report(last, plan, guard)

    def _pace(self, store: str) -> ConcurrencyLimiter:
        """The pace of a store, which all its targets share."""
        if store not in self._paces:
            from kvsync.stores.pacing import ConcurrencyLimiter

            opened = self._stores[store]
            self._paces[store] = ConcurrencyLimiter.of(opened.capabilities, opened.config.concurrency)
        return self._paces[store]


def _crash_report(last: TargetPass, plan: TargetPlan, guard: CrashGuard) -> TargetReport:
    last.failure = guard.failure
    return withheld(plan, "", guard.failure)


def _store_of(plan: TargetPlan) -> str:
    return plan.target.store


def _problems(loaded: DesiredState, target: Target) -> tuple[Problem, ...]:
    return loaded.hold_all + loaded.held.get(target, ())
