"""The parts at work: load, plan, apply."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from kvsync.apply.pacing import Pace
from kvsync.config.model import Config
from kvsync.core.deletion_limit import with_waiting
from kvsync.core.digest import target_digest
from kvsync.core.model import Desired, OutcomeKind, Target
from kvsync.core.plan import Plan, Stats, TargetPlan, TargetReport, make_plan
from kvsync.errors import Problem, StoreError
from kvsync.reconcile import Applying, Ask, Surroundings, TargetPass, withheld
from kvsync.revision import revision
from kvsync.secrets import Redactor
from kvsync.sources import Loaded, Source, WatchSet
from kvsync.sources.discovery import split
from kvsync.state import Run
from kvsync.state.deletions import LimitedDeletions
from kvsync.stores.base import Store
from kvsync.together import all_of
from kvsync.workspace.model import Report, Selection, is_hash_of, selected

if TYPE_CHECKING:
    from kvsync.checkout import Checkout, Fetched


class Workspace:
    """An open workspace; see `open_workspace`."""

    def __init__(
        self,
        config: Config,
        stores: Mapping[str, Store],
        source: Source,
        around: Surroundings,
        redactor: Redactor,
        checkout: Checkout | None = None,
    ) -> None:
        self.config, self.stores, self.redactor = config, stores, redactor
        self.state, self.clock = around.state, around.clock
        self._source, self._around, self.around = source, around, around
        self.checkout = checkout
        self._passes: dict[Target, TargetPass] = {}
        self._paces = {
            name: Pace.of(store.capabilities, config.stores[name].concurrency) for name, store in stores.items()
        }

    def load(self, environment: str | None = None) -> Loaded:
        """Read the desired state, of our share of the targets. What is wrong with the files is in the answer; secrets in it
        become known here."""
        loaded = self._load(environment)
        self.redactor.register(*loaded.secrets)
        return loaded if self._around.shard is None else loaded.only(self._around.shard.owns)

    async def fetch(self) -> Fetched | None:
        """Look for the newest commit of the repository that the files come from; None when they come from none. Raises
        SourceError; the last good commit stays then, as for one that is refused."""
        return None if self.checkout is None else await self.checkout.fetch()

    async def plan(self, selection: Selection | None = None, loaded: Loaded | None = None) -> Plan:
        """Plan the targets asked for. Raises UsageError when one does not exist, StateDirError."""
        selection = selection or Selection()
        started, (requests, received) = time.perf_counter(), self._traffic()
        loaded = loaded or self.load()
        targets = selected(loaded, selection.targets)
        plans = await all_of(self._plan_target(target, loaded, selection.ask) for target in targets)
        after = self._traffic()
        stats = Stats(after[0] - requests, after[1] - received, round(time.perf_counter() - started, 3))
        plan = make_plan(self.config.owner, plans, stats, loaded.source)
        if self._around.writable and not selection.ask.keys:
            with self._around.remembering():
                self._keep_parked(plan)
        return plan

    async def apply(
        self,
        plan: Plan,
        *,
        command: str,
        approvals: Collection[str] = (),
        stop: Callable[[], bool] = lambda: False,
        progress: Callable[[int], None] = lambda _count: None,
    ) -> Report:
        """Apply a plan made here, or a part of one. Targets that are parked and not approved are left alone. Raises
        StateDirError; what goes wrong in a store is in the report."""
        released = self.released(plan, approvals)
        pending = [target for target in plan.targets if target.target in released and target.changes]
        others = (self._unchanged(target, released, stop) for target in plan.targets if target not in pending)
        untouched = {report.plan.target: report for report in await all_of(others)}
        if not pending:
            return Report(plan, tuple(untouched.values()))
        run = self.state.journal.begin(command, plan.source)
        counts: dict[str, int] = {}
        try:
            applying = (self._apply_target(target, run, stop, progress) for target in pending)
            applied = {report.plan.target: report for report in await all_of(applying)}
            reports = [applied.get(one.target) or untouched[one.target] for one in plan.targets]
            report = Report(plan, tuple(reports), run.id)
            counts = report.counts()
        finally:
            run.finish(counts)
        self.state.journal.prune()  # a daemon may run for years
        return report

    @property
    def deletions(self) -> LimitedDeletions:
        """What grants deletes, by the limit of the configuration."""
        return LimitedDeletions(self.state.deletions, self.config.run.max_deletes_per_hour)

    def with_waiting(self, plan: Plan) -> Plan:
        """The plan with what waits of it for `run.max_deletes_per_hour`. Raises StateDirError."""
        return replace(plan, targets=with_waiting(plan.targets, self.deletions.budget()))

    def take_over(self, other: Workspace) -> None:
        """Know what the files last asked without problems, as a workspace with an older configuration does, and go on with its
        commit."""
        self._source.take_over(other._source)
        if self.checkout is not None and other.checkout is not None:
            self.checkout.take_over(other.checkout)

    def target_pass(self, target: Target, loaded: Loaded, ask: Ask) -> TargetPass:
        """A pass over one target with what was loaded; one whose files have problems keeps its last good state."""
        problems = (*loaded.hold_all, *loaded.held.get(target, ()))
        known = loaded.kept if problems else loaded.targets
        desired = known.get(target) or Desired(target, {}, {}, digest="")
        managed = (*loaded.targets, *loaded.held, *loaded.kept)
        beside = {one.namespace for one in managed if one.store == target.store and one != target}
        return TargetPass(replace(desired, problems=problems), self.stores[target.store], self._around, ask, beside)

    def failure(self, target: Target) -> StoreError | None:
        """Why the store was given up in the last pass over a target, None when it was not."""
        last = self._passes.get(target)
        return last.failure if last else None

    def released(self, plan: Plan, approvals: Collection[str] = ()) -> frozenset[Target]:
        """The targets of a plan that may be applied: not parked, or approved. Raises StateDirError."""
        return frozenset(target.target for target in plan.targets if self._is_released(target, plan, approvals))

    def with_approvals(self, plan: Plan, approvals: Collection[str] = ()) -> Plan:
        """The plan with those of its parked targets marked that are approved. Raises StateDirError."""
        released = self.released(plan, approvals)
        marked = (replace(one, approved=bool(one.parked) and one.target in released) for one in plan.targets)
        return self.with_waiting(replace(plan, targets=tuple(marked)))

    async def aclose(self) -> None:
        """Release the stores and the cache. Idempotent."""
        self._source.close()
        if self.checkout is not None:
            self.checkout.close()
        await asyncio.gather(*(store.aclose() for store in self.stores.values()))

    def _load(self, environment: str | None) -> Loaded:
        if self.checkout is None:
            folder = (
                self.config.root / split(self.config.state[0])[0]
            )  # the files may be a checkout next to the configuration
            return replace(self._source.load(environment), source=revision(folder))
        if self.checkout.root is None:
            return self._source.without_files(Problem(f"no commit of {self.checkout.source.url} could be fetched yet"))
        loaded = self._source.load(environment, self.checkout.root)
        return replace(loaded, source=self.checkout.commit, watch=WatchSet())

    async def _plan_target(self, target: Target, loaded: Loaded, ask: Ask) -> TargetPlan:
        self._passes[target] = self.target_pass(target, loaded, ask)
        return await self._passes[target].plan()

    async def _apply_target(
        self, plan: TargetPlan, run: Run, stop: Callable[[], bool], progress: Callable[[int], None]
    ) -> TargetReport:
        applying = Applying(run, self._paces[plan.target.store], stop, progress, self.deletions)
        report = await self._passes[plan.target].apply(plan, applying)
        self.state.parked.consume(plan.target, plan.digest)
        if plan.parked and report.deletes_waiting:
            self._approve_rest(report)
        return report

    def _approve_rest(self, report: TargetReport) -> None:
        """Let an approval also cover what is left of its plan, when the limit on deletes lets only a part of it go now."""
        plan, now = report.plan, self.clock.now()
        left = {one.identity for one in report.outcomes if one.kind is OutcomeKind.NOT_ATTEMPTED}
        digest = target_digest(plan.target, (one for one in plan.changes if one.identity in left), plan.refused)
        self.state.parked.park_approved(plan.target, digest, plan.parked, now)

    async def _unchanged(
        self, plan: TargetPlan, released: Collection[Target], stop: Callable[[], bool]
    ) -> TargetReport:
        """The report of a target in which no entry is written; its ledger may be."""
        if plan.target not in released or plan.error or self.state.pauses.is_paused(plan.target):
            return withheld(plan, "" if plan.target in released else "the target is parked")
        error = await self._passes[plan.target].leave_ledger(self._paces[plan.target.store], stop)
        return replace(withheld(plan, ""), error=error)

    def _is_released(self, target: TargetPlan, plan: Plan, approvals: Collection[str]) -> bool:
        if not target.parked:
            return True
        digests = (target.digest, plan.digest)
        by_hand = any(is_hash_of(approval, digest) for approval in approvals for digest in digests)
        return by_hand or self.state.parked.approved(target.target, target.digest)

    def _keep_parked(self, plan: Plan) -> None:
        """Note what waits for a person, so that `approve` finds it, and forget what does no longer. A pass over one target
        leaves the hash of the larger plan standing that a person may have seen."""
        waiting = {record.target: record for record in self.state.parked.all()}
        for target in plan.targets:
            known = waiting.get(target.target)
            if target.parked:
                is_part = len(plan.targets) == 1 and known is not None and known.digest == target.digest
                whole = known.plan_digest if known is not None and is_part else plan.digest
                self.state.parked.park(target.target, target.digest, whole, target.parked, self.clock.now())
            elif known is not None and target.error is None and not target.problems:
                self.state.parked.unpark(target.target)

    def _traffic(self) -> tuple[int, int]:
        traffic = [store.traffic for store in self.stores.values()]
        return sum(one.requests for one in traffic), sum(one.bytes_received for one in traffic)
