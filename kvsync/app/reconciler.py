"""Reconciler that the daemon drives: it can switch to a workspace with a newer configuration while passes are running."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from kvsync.app import TargetSelection, Workspace, assemble
from kvsync.app.config_watch import ConfigNews, ConfigWatch
from kvsync.app.configuration import read_config
from kvsync.app.fleet import Share
from kvsync.app.pass_log import SourceLog, log_drift, log_report
from kvsync.app.undo.execution import UndoExecution
from kvsync.config.model import Config, ReloadMode, RunConfig
from kvsync.config.protected import own_files
from kvsync.daemon.ports import LoadedTargets, PassRequest
from kvsync.desired import DesiredState
from kvsync.errors import InvalidInput, Origin, Problem, UsageError
from kvsync.model.entry import Target
from kvsync.model.health import Traffic, total
from kvsync.model.pass_options import PassOptions
from kvsync.model.plan import TargetReport
from kvsync.model.result import PassResult, pass_result
from kvsync.planning.deletion_limit import DeletionBudget
from kvsync.reconcile import PassContext
from kvsync.rendering.words import moment
from kvsync.state import RunCause
from kvsync.status.snapshot import StoreView
from kvsync.stores.base import Store
from kvsync.stores.extensions import Watchable, quota_left
from kvsync.tracing import span
from kvsync.util.background import in_background, off_loop

_Result = TypeVar("_Result")

_FEW_EVENTS = 256
"""Events of a pass that are logged at once; more would stop the event loop for longer than a health check waits."""


class WorkspaceReconciler:
    """Implements `kvsync.daemon.ports.Reconciler` on a writing (or, to observe, a reading) workspace."""

    def __init__(
        self,
        workspace: Workspace,
        pass_context: PassContext,
        environ: Mapping[str, str],
        *,
        environment: str | None = None,
    ) -> None:
        """`environment` overrides the one that the configuration names, also after it was read again."""
        self.commit: str | None = None
        """The commit that the files were at when they were last read."""
        self._workspace, self._context, self._environ = workspace, pass_context, environ
        self._files: DesiredState | None = None
        self._users: Counter[Workspace] = Counter()
        self._news = SourceLog()
        self._closed: dict[str, Traffic] = {}
        self._reading = asyncio.Lock()
        self._environment = environment
        self._config_watch: ConfigWatch | None = None
        self._config_news = ConfigNews()
        self._broken: Problem | None = None
        self._in_flight: Counter[Target] = Counter()
        self.share: Share | None = None
        """The share of the targets that this process works on; None: all."""

    def is_busy(self, target: Target) -> bool:
        """True while a pass of the target is in flight."""
        return self._in_flight[target] > 0

    @property
    def workspace(self) -> Workspace:
        """The workspace of the configuration in force."""
        return self._workspace

    @property
    def files(self) -> DesiredState:
        """What the files ask, as last read. Raises UsageError before the first time."""
        if self._files is None:
            raise UsageError("the files have not been read yet; try again in a moment")
        return self._files

    def follow_files(self) -> None:
        """Use files only once they have rested, and notice another configuration, from now on: for a daemon, which may look
        while they are being written."""
        self._config_watch = ConfigWatch(self._workspace.config, self._workspace.clock)
        self._workspace.let_rest()

    async def load(self) -> LoadedTargets:
        """Read the files again, in the background; what is wrong with them is in the answer."""
        async with self._reading:
            files = await self._read_or_keep()
        return self._loaded(files)

    def _loaded(self, files: DesiredState) -> LoadedTargets:
        config, waits = self._workspace.config, (files.rests_in, self._config_news.rests_in)
        owns = self._owned(files)
        return LoadedTargets(
            targets={
                target: desired.digest
                for target, desired in files.targets.items()
                if target not in files.held and owns(target)
            },
            held={target: problems for target, problems in files.held.items() if owns(target)},
            hold_all=files.hold_all,
            problems=files.problems,
            watch=tuple({config.root, *map(Path, files.watch.directories)}),
            absent=self._workspace.checkout is not None and self._workspace.checkout.root is None,
            look_again=max((one for one in waits if one is not None), default=None),
            own=own_files(config),
            elsewhere=frozenset(target for target in {*files.targets, *files.held} if not owns(target)),
        )

    def _owned(self, files: DesiredState) -> Callable[[Target], bool]:
        """Which targets this process works on."""
        if self.share is None:
            return lambda _target: True
        self.share.wants({*files.targets, *files.held})
        return self.share.owns

    @property
    def fetch_every(self) -> float | None:
        """Seconds between two fetches; None when the files come from no repository."""
        source = self._workspace.config.source
        return None if source is None else source.every

    async def fetch(self) -> bool:
        """Look for a newer commit, and say what was found. Returns whether another one is in force. Raises SourceError."""
        workspace = self._workspace
        self._users[workspace] += 1
        try:
            fetched = await workspace.fetch()
        finally:
            self._users[workspace] -= 1
            await self._release(workspace)
        source = workspace.config.source
        return fetched is not None and source is not None and self._news.log(source, fetched)

    def watched_stores(self) -> Collection[str]:
        """The stores that report changes, unless `run.watch_stores` is off."""
        workspace = self._workspace
        is_wanted = workspace.config.run.watch_stores
        return [name for name, store in workspace.stores.items() if is_wanted and isinstance(store, Watchable)]

    async def watch_store(self, store: str, namespaces: Collection[str], changed: Callable[[str], None]) -> None:
        """Watch a store of the configuration that is in force now; when another one is, this ends. Raises StoreError."""
        found = self._workspace.stores[store]
        if isinstance(found, Watchable):
            await found.watch(namespaces, changed)

    async def config_changed(self) -> bool:
        """True when another configuration is on disk than the one in force, and it is not being written any more, nor are the
        state files: what changed together is used together."""
        if self._config_watch is None or self._workspace.config.run.reload is ReloadMode.MANUAL:
            return False
        news = self._config_watch.look()
        if news.is_new and not self._config_watch.is_overdue:
            async with self._reading:
                moving = await self._used(Workspace.rests_in)
            news = news if moving is None else ConfigNews(rests_in=moving)
        self._config_news = news
        if not news.is_broken:
            self._broken = None
        return news.is_new

    async def reload_config(self) -> RunConfig:
        """Use the configuration as it is on disk now. Raises InvalidInput, and keeps the old one, when it is broken."""
        try:
            config = self._changed_config()
            workspace = assemble(config, self._context, self._workspace.redactor, self._environ)
        except InvalidInput as error:
            self._refuse_config(error)
            raise
        old, self._workspace = self._workspace, workspace
        workspace.take_over(old)
        self._files = self._broken = None
        self._config_news = ConfigNews()
        if self._config_watch is not None:
            self._config_watch.use(config)
        await self._release(old)
        return config.run

    def _changed_config(self) -> Config:
        old = self._workspace.config
        config = read_config(old.file, environment=self._environment, environ=self._environ)
        before = (self._context.state.asked, old.owner, old.environment)
        if (config.state_dir, config.owner, config.environment) != before:
            what = "owner, state_dir and environment cannot change while the daemon runs"
            raise InvalidInput([Problem(what, Origin(old.file.name, 1, 1), "restart it")])
        if config.run.lease != old.run.lease:
            what = "run.lease cannot change while the daemon runs"
            raise InvalidInput([Problem(what, Origin(old.file.name, 1, 1), "restart it")])
        return config

    def _refuse_config(self, error: InvalidInput) -> None:
        """Hold every target until the configuration is fixed, unless it is loaded by hand alone."""
        if self._config_watch is None or self._workspace.config.run.reload is ReloadMode.MANUAL:
            return
        self._config_watch.refuse()
        first, more = error.problems[0], len(error.problems) - 1
        also = f", and {more} more" if more else ""
        text = f"the changed configuration is invalid ({first.message}{also}); every target keeps its last good state"
        self._broken = Problem(text, first.origin, f"fix {self._workspace.config.file.name}, or take the change back")

    async def aclose(self) -> None:
        """Release the workspace in use, which is another one than at the start once the configuration was read again.
        Idempotent."""
        await self._workspace.aclose()

    @property
    def stores(self) -> tuple[StoreView, ...]:
        """What the configured stores have cost since this began, also under earlier configurations."""
        older = [workspace for workspace in self._users if workspace is not self._workspace]
        return tuple(self._store(name, store, older) for name, store in sorted(self._workspace.stores.items()))

    def store_names(self) -> tuple[str, ...]:
        """The configured stores."""
        return tuple(self._workspace.stores)

    def deletion_budget(self) -> DeletionBudget:
        """How many entries may still be deleted in this hour. Raises StateDirError."""
        return self._workspace.deletions.budget()

    def _store(self, name: str, store: Store, older: Sequence[Workspace]) -> StoreView:
        others = [one.stores[name].traffic for one in older if name in one.stores]
        traffic = total((self._closed.get(name), *others, store.traffic))
        unnamed = traffic.requests - sum(traffic.by_status.values())
        requests = traffic.by_status | ({"none": unnamed} if unnamed > 0 else {})
        sizes = (traffic.bytes_sent, traffic.bytes_received)
        return StoreView(name, self._workspace.config.stores[name].type, requests, *sizes, quota_left(store))

    def is_paused(self, target: Target) -> bool:
        """True when a person paused this target or its store."""
        return self._context.state.pauses.is_paused(target)

    def undo_requested(self) -> frozenset[Target]:
        """The targets in which something is still to be undone, except those that other replicas work on. Raises
        StateDirError."""
        requested = frozenset(one.target for one in self._context.state.undo_requests.open())
        if self.share is None:
            return requested
        return frozenset(target for target in requested if self.share.owns(target) or not self._is_named(target))

    def _is_named(self, target: Target) -> bool:
        """True when the files name a target, or have not been read."""
        return self._files is None or target in self._files.managed

    async def carry_out_undo(self, target: Target, stop: Callable[[], bool]) -> None:
        """Undo in a target that no file names. Raises StateDirError."""
        if self.share is not None and not self.share.borrow(target):
            return  # whoever holds it does it
        workspace = self._workspace
        self._users[workspace] += 1
        self._in_flight[target] += 1
        try:
            await self._undo(workspace, target, stop)
        finally:
            self._in_flight[target] -= 1
            self._users[workspace] -= 1
            await self._release(workspace)

    async def reconcile(self, request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        """Do one pass with what was loaded last."""
        if self._files is None:
            async with self._reading:
                if self._files is None:  # nobody else read them meanwhile
                    await self._read()
        workspace = self._workspace
        self._users[workspace] += 1
        self._in_flight[request.target] += 1
        began = workspace.clock.monotonic()
        try:
            return await self._traced(workspace, request, stop)
        finally:
            self._in_flight[request.target] -= 1
            if self.share is not None:
                self.share.spent(request.target, workspace.clock.monotonic() - began)
            self._users[workspace] -= 1
            await self._release(workspace)

    async def _read_or_keep(self) -> DesiredState:
        """Read the files, unless the configuration that they were written for is not in force: then everything is held, or, as
        long as it is still being written, as it was."""
        before = self._files
        if self._broken is not None and before is not None:
            self._files = replace(self._workspace.held(self._broken), watch=before.watch)
        elif self._config_news.rests_in is not None and before is not None:
            await self._used(Workspace.rests_in)  # the files go on resting meanwhile
        else:
            return await self._read()
        return self._files or before

    async def _read(self) -> DesiredState:
        """Read the files and use them from now on."""
        files = await self._used(Workspace.load)
        self._files, self.commit = files, files.source
        return files

    async def _used(self, read: Callable[[Workspace], _Result]) -> _Result:
        """Read the files, in the background, by the configuration that is in force when that is done. One reading at a time."""
        while True:
            workspace = self._workspace
            self._users[workspace] += 1
            try:
                found = await in_background(partial(read, workspace))
            finally:
                self._users[workspace] -= 1
                await self._release(workspace)
            if workspace is self._workspace:
                return found

    async def _traced(self, workspace: Workspace, request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        names = {"store": request.target.store, "namespace": request.target.namespace}
        trigger = "+".join(request.triggers)
        with span("pass", **names, trigger=trigger, apply=request.apply, deep=request.deep) as note:
            longest = workspace.config.pass_limits.rest
            result = _with_rest(await self._pass(workspace, request, stop), workspace.clock.now(), longest)
            note(ok=result.ok, pending=result.pending, drifted=sum(result.drift.values()), parked=bool(result.parked))
            note(**{str(kind): count for kind, count in result.changes.items() if count})
            return result

    async def _pass(self, workspace: Workspace, request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        ask = PassOptions(deep=request.deep, grace=request.grace)
        await self._undo(workspace, request.target, stop)
        plan = await workspace.plan(TargetSelection((request.target,), ask), self._files)
        (target_plan,) = plan.targets
        seal = workspace.state.seal
        drifted = len(target_plan.changes) + len(target_plan.reported)
        await off_loop(partial(log_drift, target_plan, seal), drifted, _FEW_EVENTS)
        if not request.apply or target_plan.error:
            return pass_result(TargetReport(target_plan), is_applied=False, failure=workspace.failure(request.target))
        cause = RunCause("run", triggers=tuple(trigger.value for trigger in request.triggers))
        report = await workspace.apply(plan, command=cause, stop=stop)
        outcomes = len(report.targets[0].outcomes) + len(target_plan.refused)
        await off_loop(partial(log_report, report.targets[0], report.run, seal), outcomes, _FEW_EVENTS)
        settle = workspace.stores[request.target.store].capabilities.settle
        return pass_result(
            report.targets[0],
            report.run,
            is_applied=True,
            failure=workspace.failure(request.target),
            settled_at=workspace.clock.now() + settle if settle else None,
        )

    async def _undo(self, workspace: Workspace, target: Target, stop: Callable[[], bool]) -> None:
        """Carry out what operators want undone in a target, also while it is paused or a window denies applying: they asked for
        it. Raises StateDirError."""
        if not self._context.writing or not self._context.fence.is_open or self._files is None:
            return
        requests = self._context.state.undo_requests.open(target)
        if requests:
            done, run = await UndoExecution(workspace, self._files, stop).all(requests)
            for report in done:
                log_report(report, run, self._context.state.seal)

    async def _release(self, workspace: Workspace) -> None:
        """Close a workspace that was replaced, once its last pass is over."""
        if workspace is not self._workspace and not self._users[workspace]:
            del self._users[workspace]
            for name, store in workspace.stores.items():
                self._closed[name] = total((self._closed.get(name), store.traffic))
            await workspace.aclose()


def _with_rest(result: PassResult, now: float, longest: float) -> PassResult:
    """The result of a pass; where its store asks for a rest, with words for that wherever its error is shown. It is tried again
    after `longest` seconds, however long the rest is."""
    if result.rest is None:
        return result
    until = moment(now + result.rest)
    again = f"kvsync tries again every {longest:g} s (limits.rest)" if result.rest > longest else ""
    hint = "a change of the files, SIGUSR1 or a webhook tries at once"
    texts = (result.error or "the store turned calls away", f"resting until {until}, as the store asks", again, hint)
    text = "; ".join(one for one in texts if one)
    return replace(result, error=text, retry_after=min(result.rest, longest), asked_rest=result.rest)
