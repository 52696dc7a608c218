"""Workspace: loads the files, plans, and applies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kvsync.app.model import Report, TargetSelection
from kvsync.app.parking import Parking
from kvsync.app.permit import denial
from kvsync.app.target_passes import ApplyRun, TargetPasses
from kvsync.app.wave_passes import WavePasses, has_work
from kvsync.app.waves import Waves
from kvsync.config.model import Config
from kvsync.desired import DesiredState, Source, WatchSet
from kvsync.desired.discovery import split
from kvsync.desired.file_stability import FileStability
from kvsync.errors import Problem, StoreError, UsageError
from kvsync.git.revision import revision
from kvsync.model.entry import Target, target_order
from kvsync.model.pass_options import PassOptions
from kvsync.model.place import LocatedTarget, Place
from kvsync.model.plan import Plan, Stats, TargetReport, UnmanagedTarget, make_plan
from kvsync.planning.deletion_limit import with_waiting
from kvsync.planning.pass_target import PassTarget
from kvsync.reconcile import PassContext
from kvsync.state import StateDir
from kvsync.state.deletions import LimitedDeletions
from kvsync.state.unmanaged import unmanaged_targets
from kvsync.stores.base import Store
from kvsync.util.background import off_loop
from kvsync.util.redaction import Redactor

if TYPE_CHECKING:
    from kvsync.app.revisions import RevisionCheck
    from kvsync.git.model import Fetched
    from kvsync.git.source import Checkout
    from kvsync.reconcile import TargetPass
    from kvsync.state import RunCause

_PRUNED_AFTER: Final = 0.001
"""The part of the runs that the journal keeps after which it is pruned again: so many runs, or changes in them."""


class Workspace:
    """An open workspace. Use `open_workspace` to open one."""

    def __init__(
        self,
        config: Config,
        stores: dict[str, Store],
        source: Source,
        pass_context: PassContext,
        redactor: Redactor,
        checkout: Checkout | None = None,
    ) -> None:
        self.config, self.stores, self.redactor = config, stores, redactor
        self.state, self.clock = pass_context.state, pass_context.clock
        self._source, self.checkout = source, checkout
        self._places = pass_context.places
        self._parking = Parking(self.state, self.clock)
        self.revisions: RevisionCheck | None = None
        """What replicas that write to the same stores have applied, where there are any."""
        self.waves = Waves(config, pass_context, stores)
        self.passes = TargetPasses(stores, pass_context, self._parking, self.waves.records)
        self._wave_passes = WavePasses(self.waves, self.passes, partial(denial, self))
        self._unpruned = 0

    @property
    def pass_context(self) -> PassContext:
        """What all passes share."""
        return self.passes.context

    def attach(self, name: str, store: Store) -> None:
        """Know one more store, which the configuration does not name, until the workspace is closed."""
        self.stores[name] = store

    def load(self, environment: str | None = None, touched: Collection[Path] | None = None) -> DesiredState:
        """Read the desired state of this process's share of the targets. The result includes the problems of the files, and the
        secrets in it are redacted from then on. `touched` lists the real paths that may have changed since the last call (None:
        any path)."""
        loaded = self._load(environment, touched)
        self._places.manage(loaded.managed)
        if environment is None:
            self.waves.use(loaded)
        if loaded.secrets:
            self.redactor.add_open_words(*self._names(loaded))
            self.redactor.register_values(*loaded.secrets)
        return loaded if self.pass_context.shard is None else loaded.only(self.pass_context.shard.owns)

    def _names(self, loaded: DesiredState) -> Iterator[str]:
        """What plans and messages name: targets, files, owner and environment."""
        yield from (self.config.owner, self.config.environment or "", self.config.file.name, *self.config.state)
        yield from self.config.stores
        yield from (target.namespace for target in loaded.managed)
        yield from (one.origin.file for one in (*loaded.problems, *loaded.warnings) if one.origin is not None)

    def use_only_stable_files(self) -> None:
        """Use state files only once they are stable, from now on."""
        if self.checkout is None:  # a commit does not change
            self._source.use_only_stable_files(FileStability(self.config.run.debounce, self.clock))

    def stable_in(self) -> float | None:
        """Check whether the files are stable, and use nothing of them. Returns the seconds until they are, or None."""
        return self._source.stable_in()

    def held(self, problem: Problem) -> DesiredState:
        """The desired state with every target held for this problem."""
        held = replace(self._source.without_files(problem), problems=())
        return held if self.pass_context.shard is None else held.only(self.pass_context.shard.owns)

    def unmatched_files(self) -> tuple[Problem, ...]:
        """A warning for each file that looks like a state file and that no pattern of `state` matches. Load before."""
        return self._source.unmatched(self.checkout.root if self.checkout is not None else None)

    def state_file_names(self) -> tuple[str, ...]:
        """The state files, and the overlays that were read with them, relative to their folder. Load before."""
        return self._source.file_names()

    async def fetch(self) -> Fetched | None:
        """Fetch the newest commit of the repository that the files come from; return None if they do not come from a
        repository. Raises SourceError. After an error or a rejected commit, the last good commit stays in use."""
        return None if self.checkout is None else await self.checkout.fetch()

    async def plan(self, selection: TargetSelection | None = None, loaded: DesiredState | None = None) -> Plan:
        """Plan the selected targets. Raises UsageError if one does not exist, StateDirError."""
        started = time.perf_counter()
        files, ask = loaded or self.load(), (selection or TargetSelection()).ask
        targets = _selected(files, selection.targets if selection else None)
        stores = {target.store for target in targets}
        requests, received = self._traffic(stores)
        older = await self._why_not(files)
        if self.pass_context.writing:
            self.waves.remove_others(files)
        with self.state.bulk() if len(targets) > 1 else nullcontext():
            plans = await self.passes.plan(targets, files, ask)
        if older is not None:
            from kvsync.app.revisions import parked

            plans = [parked(one, older) for one in plans]
        after = self._traffic(stores)
        stats = Stats(after[0] - requests, after[1] - received, round(time.perf_counter() - started, 3))
        make = partial(make_plan, self.state.digest_key, self.config.owner, plans, stats, files.source)
        plan = await off_loop(make, sum(len(one.changes) + len(one.refused) for one in plans))
        plan = replace(plan, environment=self.config.environment)
        if len(targets) == len(files.managed) and not ask.keys and self.pass_context.shard is None:
            places = [one.place for one in plans if one.place is not None]
            plan = replace(plan, unmanaged=self.unmanaged(files, places))
        if self.pass_context.writable and not ask.keys:
            with self.pass_context.remembering():
                self._parking.keep(plan)
        return plan

    def unmanaged(self, loaded: DesiredState, places: Iterable[Place] = ()) -> tuple[UnmanagedTarget, ...]:
        """The targets that no file names although kvsync owns entries there; none while it is not known what the files name.
        `places` are those that the others were just found to lead to. Raises StateDirError."""
        owner, stores = self.config.owner, self.config.stores
        return () if loaded.hold_all else unmanaged_targets(self.state, owner, stores, loaded.managed, places)

    async def apply(
        self,
        plan: Plan,
        *,
        command: str | RunCause,
        approvals: Collection[str] = (),
        stop: Callable[[], bool] = lambda: False,
        progress: Callable[[int], None] = lambda _count: None,
    ) -> Report:
        """Apply a plan that this workspace made, or a part of such a plan. Targets that are parked and not approved are left
        unchanged. Raises StateDirError; errors of stores are in the report."""
        released = self.released(plan, approvals)
        pending = [one for one in plan.targets if one.target in released and has_work(one)]
        others = [one for one in plan.targets if one.target not in released or not has_work(one)]
        untouched = await self.passes.leave_unwritten(others, released, stop)
        self.waves.records.finish(untouched)
        held = await self._wave_passes.held(plan, pending, stop)
        if held is not None:
            return Report(plan, _in_order(plan, (*untouched, *held)))
        run = self.state.journal.begin(self._cause(command, plan))
        counts, reports = dict[str, int](), list(untouched)
        applying = ApplyRun(run, stop, progress, self.deletions)
        try:
            async with aclosing(self._wave_passes.due(plan, pending, stop)) as stages:
                async for stage in stages:
                    reports += stage.finish(await self.passes.apply(stage.work, applying))
            report = Report(plan, _in_order(plan, reports), run.id)
            counts = report.counts()
        finally:
            run.finish(counts)
        self._prune_sometimes(sum(counts.values()))  # a daemon may run for years
        return report

    def _prune_sometimes(self, changes: int) -> None:
        """Prune the journal once it has grown by a small part of the runs that it keeps: to find out that there is nothing to
        forget, all of them are looked at. Many `changes` count as many runs, because they fill it too. Raises StateDirError."""
        self._unpruned += max(changes, 1)
        if self._unpruned >= self.config.journal.runs * _PRUNED_AFTER:
            self._unpruned = 0
            prune_journal(self.state, self.config)

    def _cause(self, command: str | RunCause, plan: Plan) -> RunCause:
        from kvsync.state import RunCause

        cause = RunCause(command) if isinstance(command, str) else command
        return replace(cause, source=plan.source, environment=self.config.environment)

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
        self.revisions = other.revisions
        if self.checkout is not None and other.checkout is not None:
            self.checkout.take_over(other.checkout)

    async def find_place(self, target: Target) -> Place:
        """Where a target leads. Raises StoreError."""
        return await self._places.locate(target)

    async def locate(self, target: Target, *, reads_only: bool = False) -> PassTarget:
        """A target with the place that it leads to. Unless it `reads_only`, this task may write to it from now on. Raises
        StoreError, ClaimHeld, ClaimLost, StateDirError."""
        context = replace(self.pass_context, writing=False) if reads_only else self.pass_context
        return context.pass_target(LocatedTarget(target, await self.find_place(target)))

    def target_pass(self, target: Target, place: Place, loaded: DesiredState, ask: PassOptions) -> TargetPass:
        """A pass over one target with what was loaded. Raises StoreError, StateDirError."""
        return self.passes.target_pass(target, place, loaded, ask)

    def failure(self, target: Target) -> StoreError | None:
        """Return the error that made the last pass over a target give up on the store; None if there was none."""
        return self.passes.failure(target)

    def released(self, plan: Plan, approvals: Collection[str] = ()) -> frozenset[Target]:
        """Return the targets of a plan that may be applied: those that are not parked, or are approved. Raises
        StateDirError."""
        return self._parking.released(plan, approvals)

    def with_approvals(self, plan: Plan, approvals: Collection[str] = ()) -> Plan:
        """The plan with those of its parked targets marked that are approved, and with what else its changes wait for. Raises
        StateDirError."""
        plan = self.with_waiting(self._parking.marked(plan, approvals))
        return replace(plan, targets=self.waves.marked(plan.targets))

    async def aclose(self) -> None:
        """Close the stores and the cache. Idempotent."""
        self._source.close()
        if self.checkout is not None:
            self.checkout.close()
        await asyncio.gather(*(store.aclose() for store in self.stores.values()))

    def _load(self, environment: str | None, touched: Collection[Path] | None) -> DesiredState:
        if self.checkout is None:
            # The files may be a checkout next to the configuration.
            folder = self.config.root / split(self.config.state[0])[0]
            return _at_commit(self._source.load(environment, touched=touched), revision(folder))
        if self.checkout.root is None:
            message = f"no commit of {self.checkout.source.url} has been fetched yet"
            return self._source.without_files(
                Problem(message, hint="kvsync doctor says why the repository cannot be fetched")
            )
        loaded = self._source.load(environment, self.checkout.root)
        return _at_commit(replace(loaded, watch=WatchSet()), self.checkout.commit)

    async def _why_not(self, files: DesiredState) -> str | None:
        """Why a replica that may write now must not apply these files. Raises StateDirError."""
        if self.revisions is None or not self.pass_context.fence.is_open:
            return None
        return await self.revisions.why_not(files)

    def _traffic(self, stores: Iterable[str]) -> tuple[int, int]:
        traffic = [self.stores[name].traffic for name in stores]
        return sum(one.requests for one in traffic), sum(one.bytes_received for one in traffic)


def _at_commit(loaded: DesiredState, commit: str | None) -> DesiredState:
    """The files as those of a commit: one that goes back to earlier contents is a later revision all the same."""
    return replace(loaded, source=commit, revision=f"{commit}:{loaded.revision}" if commit else loaded.revision)


def prune_journal(state: StateDir, config: Config) -> None:
    """Forget the runs that the configuration does not keep. Raises StateDirError."""
    kept = config.journal
    state.journal.prune(kept.runs, max_age=kept.age, max_size=kept.size)


def _in_order(plan: Plan, reports: Iterable[TargetReport]) -> tuple[TargetReport, ...]:
    """Reports of all targets of a plan, in its order."""
    by_target = {report.plan.target: report for report in reports}
    return tuple(by_target[one.target] for one in plan.targets)


def _selected(loaded: DesiredState, targets: Collection[Target] | None) -> Sequence[Target]:
    if targets is None:
        return sorted(loaded.managed, key=target_order)
    for target in targets:
        if target not in loaded.managed:
            raise UsageError(f"{target}: no state file names this target; correct the name")
    return sorted(targets, key=target_order)
