"""Reconciler that the daemon drives: it can switch to a workspace with a newer configuration while passes are running."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from kvsync.app import TargetSelection, Workspace, assemble
from kvsync.app.configuration import read_config
from kvsync.app.pass_log import SourceLog, log_drift, log_report
from kvsync.config.model import RunConfig
from kvsync.daemon.ports import LoadedTargets, PassRequest
from kvsync.desired import DesiredState
from kvsync.errors import InvalidInput, Problem
from kvsync.model.entry import Target
from kvsync.model.health import Traffic, total
from kvsync.model.plan import TargetReport
from kvsync.model.result import PassResult, pass_result
from kvsync.planning.deletion_limit import DeletionBudget
from kvsync.reconcile import PassContext, PassOptions
from kvsync.status.snapshot import StoreView
from kvsync.stores.base import Store
from kvsync.stores.extensions import quota_left
from kvsync.tracing import span
from kvsync.util.background import in_background

_MANY_EVENTS = 256
"""Events of a pass that are logged at once; more would stop the event loop for longer than a health check waits."""


class WorkspaceReconciler:
    """Implements `kvsync.daemon.ports.Reconciler` on a writing (or, to observe, a reading) workspace."""

    def __init__(self, workspace: Workspace, pass_context: PassContext, environ: Mapping[str, str]) -> None:
        self.commit: str | None = None
        """The commit that the files were at when they were last read."""
        self._workspace, self._around, self._environ = workspace, pass_context, environ
        self._files: DesiredState | None = None
        self._users: Counter[Workspace] = Counter()
        self._news = SourceLog()
        self._closed: dict[str, Traffic] = {}
        self._reading = asyncio.Lock()

    async def load(self) -> LoadedTargets:
        """Read the files again, in the background; what is wrong with them is in the answer."""
        async with self._reading:
            files = await self._read()
        return LoadedTargets(
            targets={target: desired.digest for target, desired in files.targets.items() if target not in files.held},
            held=files.held,
            hold_all=files.hold_all,
            problems=files.problems,
            watch=tuple(map(Path, files.watch.directories)),
            absent=self._workspace.checkout is not None and self._workspace.checkout.root is None,
        )

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

    async def reload_config(self) -> RunConfig:
        """Use the configuration as it is on disk now. Raises InvalidInput, and keeps the old one, when it is broken."""
        old = self._workspace
        config = read_config(old.config.file, environment=old.config.environment, environ=self._environ)
        if (config.state_dir, config.owner) != (self._around.state.asked, old.config.owner):
            raise InvalidInput([Problem("owner and state_dir cannot change while the daemon runs", None, "restart it")])
        if config.run.lease != old.config.run.lease:
            raise InvalidInput([Problem("run.lease cannot change while the daemon runs", None, "restart it")])
        self._workspace = assemble(config, self._around, old.redactor, self._environ)
        self._workspace.take_over(old)
        self._files = None
        await self._release(old)
        return config.run

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
        return self._around.state.pauses.is_paused(target)

    async def reconcile(self, request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        """Do one pass with what was loaded last."""
        if self._files is None:
            async with self._reading:
                if self._files is None:  # nobody else read them meanwhile
                    await self._read()
        workspace = self._workspace
        self._users[workspace] += 1
        try:
            return await self._traced(workspace, request, stop)
        finally:
            self._users[workspace] -= 1
            await self._release(workspace)

    async def _read(self) -> DesiredState:
        """Read the files by the configuration that is in force when that is done. One reading at a time."""
        while True:
            workspace = self._workspace
            self._users[workspace] += 1
            try:
                files = await in_background(workspace.load)
            finally:
                self._users[workspace] -= 1
                await self._release(workspace)
            if workspace is self._workspace:
                self._files, self.commit = files, files.source
                return files

    async def _traced(self, workspace: Workspace, request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        names = {"store": request.target.store, "namespace": request.target.namespace}
        trigger = "+".join(request.triggers)
        with span("pass", **names, trigger=trigger, apply=request.apply, deep=request.deep) as note:
            result = await self._pass(workspace, request, stop)
            note(ok=result.ok, pending=result.pending, drifted=sum(result.drift.values()), parked=bool(result.parked))
            note(**{str(kind): count for kind, count in result.changes.items() if count})
            return result

    async def _pass(self, workspace: Workspace, request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        ask = PassOptions(deep=request.deep, grace=request.grace)
        plan = await workspace.plan(TargetSelection((request.target,), ask), self._files)
        (target_plan,) = plan.targets
        seal = workspace.state.seal
        await _off_loop(partial(log_drift, target_plan, seal), len(target_plan.changes) + len(target_plan.reported))
        if not request.apply or target_plan.error:
            return pass_result(TargetReport(target_plan), is_applied=False, failure=workspace.failure(request.target))
        report = await workspace.apply(plan, command="run", stop=stop)
        outcomes = len(report.targets[0].outcomes) + len(target_plan.refused)
        await _off_loop(partial(log_report, report.targets[0], report.run, seal), outcomes)
        settle = workspace.stores[request.target.store].capabilities.settle
        return pass_result(
            report.targets[0],
            report.run,
            is_applied=True,
            failure=workspace.failure(request.target),
            settled_at=workspace.clock.now() + settle if settle else None,
        )

    async def _release(self, workspace: Workspace) -> None:
        """Close a workspace that was replaced, once its last pass is over."""
        if workspace is not self._workspace and not self._users[workspace]:
            del self._users[workspace]
            for name, store in workspace.stores.items():
                self._closed[name] = total((self._closed.get(name), store.traffic))
            await workspace.aclose()


async def _off_loop(log: Callable[[], None], events: int) -> None:
    """Log in a thread where it is much, so that health checks and other targets do not wait for it."""
    if events > _MANY_EVENTS:
        await in_background(log)
    else:
        log()
