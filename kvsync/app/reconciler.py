"""Reconciler that the daemon drives: it can switch to a workspace with a newer configuration while passes are running."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from kvsync.app import Workspace, assemble
from kvsync.app.config_watch import ConfigCheck, ConfigWatch
from kvsync.app.configuration import check_reloadable, read_config
from kvsync.app.daemon_pass import carry_out_undo, run_pass
from kvsync.app.fleet import Share
from kvsync.app.pass_log import KnownRefusals, SourceLog
from kvsync.app.workspaces import Workspaces
from kvsync.config.model import Config, ReloadMode, RunConfig
from kvsync.config.protected import own_files
from kvsync.daemon.ports import LoadedTargets, PassRequest
from kvsync.desired import DesiredState
from kvsync.errors import InvalidInput, Problem, UsageError
from kvsync.model.entry import Target
from kvsync.model.result import PassResult
from kvsync.planning.deletion_limit import DeletionBudget
from kvsync.reconcile import PassContext
from kvsync.status.snapshot import StoreView
from kvsync.stores.extensions import Watchable
from kvsync.util.background import in_background

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
        self._workspaces, self._context, self._environ = Workspaces(workspace), pass_context, environ
        self._files: DesiredState | None = None
        self._news = SourceLog()
        self._refusals = KnownRefusals()
        self._reading = asyncio.Lock()
        self._environment = environment
        self._config_watch: ConfigWatch | None = None
        self._config_check = ConfigCheck()
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
        return self._workspaces.current

    @property
    def files(self) -> DesiredState:
        """What the files ask, as last read. Raises UsageError before the first time."""
        if self._files is None:
            raise UsageError("the files have not been read yet; try again in a moment")
        return self._files

    @property
    def revision(self) -> str | None:
        """The revision of the files as last read."""
        return None if self._files is None else self._files.revision

    def follow_files(self) -> None:
        """Use files only once they are stable, and notice another configuration, from now on: for a daemon, which may look
        while they are being written."""
        self._config_watch = ConfigWatch(self.workspace.config, self.workspace.clock)
        self.workspace.use_only_stable_files()

    async def load(self, touched: Collection[Path] | None = None) -> LoadedTargets:
        """Read the files again, in the background; what is wrong with them is in the answer. Only the `touched` real paths may
        have changed since the last call; None: any."""
        async with self._reading:
            files = await self._read_or_keep(touched)
        return self._loaded(files)

    def _loaded(self, files: DesiredState) -> LoadedTargets:
        config, waits = self.workspace.config, (files.stable_in, self._config_check.stable_in)
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
            absent=self.workspace.checkout is not None and self.workspace.checkout.root is None,
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
        source = self.workspace.config.source
        return None if source is None else source.every

    async def fetch(self) -> bool:
        """Look for a newer commit, and say what was found. Returns whether another one is in force. Raises SourceError."""
        async with self._workspaces.in_use() as workspace:
            fetched = await workspace.fetch()
        source = workspace.config.source
        return fetched is not None and source is not None and self._news.log(source, fetched)

    def watched_stores(self) -> Collection[str]:
        """The stores that report changes, unless `run.watch_stores` is off."""
        workspace = self.workspace
        is_wanted = workspace.config.run.watch_stores
        return [name for name, store in workspace.stores.items() if is_wanted and isinstance(store, Watchable)]

    async def watch_store(self, store: str, namespaces: Collection[str], changed: Callable[[str], None]) -> None:
        """Watch a store of the configuration that is in force now; when another one is, this ends. Raises StoreError."""
        found = self.workspace.stores[store]
        if isinstance(found, Watchable):
            await found.watch(namespaces, changed)

    async def config_changed(self) -> bool:
        """True when another configuration is on disk than the one in force, and it is not being written any more, nor are the
        state files: what changed together is used together."""
        if self._config_watch is None or self.workspace.config.run.reload is ReloadMode.MANUAL:
            return False
        news = self._config_watch.check()
        if news.is_new and not self._config_watch.is_overdue:
            async with self._reading:
                moving = await self._used(Workspace.stable_in)
            news = news if moving is None else ConfigCheck(stable_in=moving)
        self._config_check = news
        if not news.is_broken:
            self._broken = None
        return news.is_new

    async def reload_config(self) -> RunConfig:
        """Use the configuration as it is on disk now. Raises InvalidInput, and keeps the old one, when it is broken."""
        try:
            config = self._changed_config()
            workspace = assemble(config, self._context, self.workspace.redactor, self._environ)
        except InvalidInput as error:
            self._refuse_config(error)
            raise
        old = self._workspaces.replace(workspace)
        self._files = self._broken = None
        self._config_check = ConfigCheck()
        if self._config_watch is not None:
            self._config_watch.use(config)
        await self._workspaces.release(old)
        return config.run

    def _changed_config(self) -> Config:
        old = self.workspace.config
        config = read_config(old.file, environment=self._environment, environ=self._environ)
        check_reloadable(old, config, self._context.state.asked)
        return config

    def _refuse_config(self, error: InvalidInput) -> None:
        """Hold every target until the configuration is fixed, unless it is loaded by hand alone."""
        if self._config_watch is None or self.workspace.config.run.reload is ReloadMode.MANUAL:
            return
        self._config_watch.refuse()
        first, more = error.problems[0], len(error.problems) - 1
        also = f", and {more} more" if more else ""
        text = f"the changed configuration is invalid ({first.message}{also}); every target keeps its last good state"
        self._broken = Problem(text, first.origin, f"fix {self.workspace.config.file.name}, or take the change back")

    async def aclose(self) -> None:
        """Release the workspace in use, which is another one than at the start once the configuration was read again.
        Idempotent."""
        await self.workspace.aclose()

    @property
    def stores(self) -> tuple[StoreView, ...]:
        """What the configured stores have cost since this began, also under earlier configurations."""
        return self._workspaces.stores

    def store_names(self) -> tuple[str, ...]:
        """The configured stores."""
        return tuple(self.workspace.stores)

    def deletion_budget(self) -> DeletionBudget:
        """How many entries may still be deleted in this hour. Raises StateDirError."""
        return self.workspace.deletions.budget()

    def read_ahead(self, target: Target) -> None:
        """Read what a pass of this target asks of the state. Raises StateDirError."""
        self._context.state.read_ahead(target)

    def state_delay(self) -> float:
        """How long a call to the state last blocked the event loop (seconds)."""
        return self._context.state.database.delay

    def is_paused(self, target: Target) -> bool:
        """True when a person paused this target or its store."""
        return self._context.state.pauses.is_paused(target)

    def paused_among(self, targets: Collection[Target]) -> Collection[Target]:
        """Those of the targets that a person paused, themselves or with their store. Raises StateDirError."""
        return self._context.state.pauses.among(targets)

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
        if self.share is not None and not self.share.claim_temporarily(target):
            return  # whoever holds it does it
        async with self._workspaces.in_use() as workspace:
            self._in_flight[target] += 1
            try:
                if self._files is not None:
                    await carry_out_undo(workspace, self._files, target, stop)
            finally:
                self._in_flight[target] -= 1

    async def reconcile(self, request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        """Do one pass with what was loaded last."""
        if self._files is None:
            async with self._reading:
                if self._files is None:  # nobody else read them meanwhile
                    await self._read()
        async with self._workspaces.in_use() as workspace:
            self._in_flight[request.target] += 1
            began = workspace.clock.monotonic()
            files = self.files
            try:
                return await run_pass(workspace, files, request, stop, self._refusals)
            finally:
                self._in_flight[request.target] -= 1
                files.release(request.target)
                if self.share is not None:
                    self.share.spent(request.target, workspace.clock.monotonic() - began)

    async def _read_or_keep(self, touched: Collection[Path] | None) -> DesiredState:
        """Read the files, unless the configuration that they were written for is not in force: then everything is held, or, as
        long as it is still being written, as it was."""
        before = self._files
        if self._broken is not None and before is not None:
            self._files = replace(self.workspace.held(self._broken), watch=before.watch)
        elif self._config_check.stable_in is not None and before is not None:
            await self._used(Workspace.stable_in)  # note how the files are meanwhile
        else:
            return await self._read(touched)
        return self._files or before

    async def _read(self, touched: Collection[Path] | None = None) -> DesiredState:
        """Read the files and use them from now on."""
        files = await self._used(partial(Workspace.load, touched=touched))
        self._files, self.commit = files, files.source
        return files

    async def _used(self, read: Callable[[Workspace], _Result]) -> _Result:
        """Read the files, in the background, by the configuration that is in force when that is done. One reading at a time."""
        while True:
            async with self._workspaces.in_use() as workspace:
                found = await in_background(partial(read, workspace))
            if workspace is self.workspace:
                return found
