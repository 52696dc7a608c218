"""Main loop of the daemon: decides when each target gets a pass.

    files ----.
    schedule -+                    .-> worker of target 1 -> one pass at a time --.
    signals --+--> trigger -> handle +-> worker of target 2 -> ...                +--> reconciler
    wake -----'   (folded)         '-> worker of target n <- timers and retries --'

Triggers that arrive together are handled together: the daemon reloads what may have changed
(the configuration, the files), and requests a pass from the workers concerned. Each worker combines its requests into one pass,
and schedules its own passes for renewals, expiries and retries.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kvsync import __version__
from kvsync.config.model import RunConfig
from kvsync.daemon.config_reload import ConfigReload
from kvsync.daemon.fetching import Fetcher
from kvsync.daemon.files import TICK
from kvsync.daemon.jobs import result_of, run_until, unless
from kvsync.daemon.loading import FileLoading
from kvsync.daemon.parts import DaemonOptions, assemble
from kvsync.daemon.ports import Reconciler, StatusStore
from kvsync.daemon.readiness import Readiness
from kvsync.daemon.schedule import Schedule
from kvsync.daemon.signals import TRIGGER_OF_SIGNAL, StopRequest
from kvsync.daemon.store_watch import StoreWatcher
from kvsync.daemon.touched_paths import TouchedPaths
from kvsync.daemon.triggers import EVERYONE, FETCHING, LOOKING, NOTHING
from kvsync.daemon.undoing import UndoDispatcher
from kvsync.daemon.wake import WakeFile, Waker
from kvsync.daemon.watch import Watcher, WatchTiming, own_paths
from kvsync.errors import StateDirError, StateDirLost
from kvsync.logs import get_logger
from kvsync.model.entry import Target
from kvsync.model.result import Trigger

_log = get_logger()


@dataclass(frozen=True, slots=True)
class DaemonResult:
    """How the daemon ended: on which signal, and how many passes had to be cancelled."""

    reason: str
    unfinished: int = 0


class Daemon:
    """Drives a reconciler until SIGTERM or SIGINT. An instance can `run` once."""

    def __init__(
        self, reconciler: Reconciler, recorder: StatusStore, settings: RunConfig, options: DaemonOptions | None = None
    ) -> None:
        options = options or DaemonOptions()
        self._inbox, self._recorder = options.inbox, recorder
        self._reconciler, self._settings, self._notifier = reconciler, settings, options.notifier
        self._clock, self._leave_within = options.clock, options.leave_within
        self._parts = assemble(reconciler, recorder, settings, options, self._pass_done)
        self._on_reload, self._leadership = options.on_reload, options.leadership
        self._control_dir = options.control_dir
        self._wake_file = WakeFile(options.control_dir)
        self._watcher = Watcher(self._files_changed, options.pace or WatchTiming(longest=settings.debounce))
        fetches = partial(self.trigger, Trigger.FILES)
        remote = options.remote
        self._fetcher = Fetcher(remote, self._clock, options.rng, fetches) if remote is not None else None
        stores = options.stores
        self._stores = (
            StoreWatcher(stores, self._clock, options.rng, self._store_changed) if stores is not None else None
        )
        self._schedule = Schedule(self._tick, self._clock)
        self._loading, self._touched = FileLoading(self._reload_files), TouchedPaths()
        self._pending, self._triggered = NOTHING, asyncio.Event()
        self._config = ConfigReload(reconciler, options.notifier, self._use_config)
        self._next_look: asyncio.TimerHandle | None = None
        self._readiness, self._stop = Readiness(self._parts, options.clock), StopRequest()
        self._undoing = UndoDispatcher(options.undo, self._parts.gate, self._stop.asked.is_set)
        self._waker = Waker(self._parts, self._undoing, reconciler.paused_among)
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> DaemonResult:
        """Work until SIGTERM or SIGINT. Raises what the first reading of the files raises, and StateDirLost."""
        callbacks = {number: partial(self.trigger, why) for number, why in TRIGGER_OF_SIGNAL.items()}
        heartbeat = asyncio.ensure_future(self._notifier.heartbeat(self._clock))
        election = asyncio.ensure_future(self._elect())
        with self._inbox.receiving(callbacks | self._stop.callbacks):
            _log.info("daemon.started", pid=os.getpid(), version=__version__, observe=self._parts.gate.observe)
            try:
                if self._fetcher is not None:
                    await self._fetcher.begin(self._stop.asked)
                if await unless(self._stop.asked, self._parts.begin()):
                    await self._work()
            finally:
                unfinished = await self._leave()
                await self._resign(election, unfinished)
                heartbeat.cancel()
        return DaemonResult(self._stop.reason or "", unfinished)

    def trigger(self, trigger: Trigger, *, deep: bool = False, touched: Collection[Path] | None = None) -> None:
        """Report that something happened. Triggers that arrive together are handled together. `touched` are the real paths that
        may have changed since the files were last read; None: any."""
        if trigger in LOOKING:
            self._touched.add(touched)
        self._pending = self._pending.add(trigger, deep=deep)
        self._triggered.set()
        self._parts.reporter.triggered(trigger)

    def request_pass(self, target: Target) -> bool:
        """Request a pass of one target. False if this daemon makes no passes of it."""
        if all(worker.target != target for worker in self._parts.pool.working):
            return False
        self._parts.reporter.triggered(Trigger.HOOK)
        self._parts.pool.ask([target], Trigger.HOOK)
        return True

    @property
    def backlog(self) -> int:
        """How many passes are due and have not begun."""
        return self._parts.pool.waiting

    # -- from start to end --------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        self._parts.pool.start()
        self._parts.reporter.daemon_changed()
        self._keep()
        self._use(self._settings)
        self._look_again()
        self._readiness.find_unseen()
        self._undoing.begin_requested(self._parts.files.targets)
        gate = self._parts.gate.watch(self._window_changed)
        fetching = () if self._fetcher is None else (self._fetcher.run(),)
        looking = (self._process_triggers(), self._loading.run(), self._watcher.run())
        jobs = (*looking, gate, self._readiness.announce(), result_of(self._lost), *fetching)
        await run_until(self._stop.asked, jobs)

    async def _elect(self) -> None:
        """Take part in the election, also while passes in flight end."""
        if self._leadership is not None:
            await self._leadership.run(self._leader_changed)

    async def _resign(self, election: asyncio.Future[None], unfinished: int) -> None:
        """Let another replica lead at once. If one of our writes may still be in flight, let the lease expire instead."""
        election.cancel()
        await asyncio.gather(election, return_exceptions=True)
        if self._leadership is not None and not unfinished:
            await self._leadership.release()

    async def _leave(self) -> int:
        _log.info("daemon.stopping", reason=self._stop.reason, running=self._parts.pool.running)
        self._parts.reporter.stopping()
        self._schedule.stop()
        if self._stores is not None:
            await self._stores.aclose()
        if self._next_look is not None:
            self._next_look.cancel()
        if self._fetcher is not None:
            await self._fetcher.finish_first()
        began = self._clock.monotonic()
        unfinished = await self._parts.pool.shutdown(self._stop.hurry, self._leave_within)
        await self._undoing.shutdown(max(self._leave_within - (self._clock.monotonic() - began), 0))
        self._parts.reporter.daemon_left()
        _log.info("daemon.stopped", seconds=round(self._clock.monotonic() - began, 3), unfinished=unfinished)
        return unfinished

    # -- what happens -------------------------------------------------------------------------------------------------

    def _check_state(self) -> None:
        """End when the state directory is gone or another one: what a pass did would be recorded nowhere, and another daemon
        could start. Everything else that may be wrong with it may end, and each pass fails until then."""
        try:
            restored = self._recorder.check()
        except StateDirLost as error:
            if not self._lost.done():
                self._lost.set_exception(error)
        except StateDirError:  # it cannot be examined now; no pass writes until it can be
            return
        else:
            if restored is not None:
                _log.warning("state.restored", file=restored)

    def _pass_done(self, target: Target) -> None:
        self._check_state()
        self._readiness.pass_done(target)

    def _tick(self, deep: bool) -> None:
        self.trigger(Trigger.SCHEDULE, deep=deep)
        self._report_next_tick()

    def _report_next_tick(self) -> None:
        self._parts.reporter.tick_scheduled(self._schedule.next_tick)

    def _files_changed(self, directories: frozenset[Path], touched: frozenset[Path] | None) -> None:
        self._check_state()
        if self._wake_file.is_touched():
            self.trigger(Trigger.WAKE)
        if directories - {self._control_dir}:
            self.trigger(Trigger.FILES, touched=touched)

    def report(self) -> None:
        """Record again what the daemon is at."""
        self._parts.reporter.daemon_changed()

    def _leader_changed(self) -> None:
        self.report()
        if self._parts.gate.leads():
            self.trigger(Trigger.LEASE)

    def _store_changed(self, target: Target) -> None:
        self._parts.reporter.triggered(Trigger.STORE)
        self._parts.pool.ask([target], Trigger.STORE)

    def _window_changed(self) -> None:
        self._parts.reporter.window_changed()
        if self._parts.gate.denied_by is None:
            waiting = [worker.target for worker in self._parts.pool.working if worker.last and worker.last.pending]
            self._parts.pool.ask(waiting, Trigger.WINDOW)

    # -- handling it ---------------------------------------------------------------------------------------------------

    async def _process_triggers(self) -> None:
        while True:
            await self._triggered.wait()
            self._triggered.clear()
            pending, self._pending = self._pending, NOTHING
            if Trigger.CONFIG in pending.triggers:
                await self._config.run()
            if pending.triggers & FETCHING and self._fetcher is not None:
                self._fetcher.ask()
            if pending.triggers & LOOKING:
                await self._loading.ask()
            for trigger in pending.triggers & EVERYONE:
                self._parts.pool.ask_all(trigger, deep=pending.deep)
            if Trigger.WAKE in pending.triggers:
                self._waker.wake()

    async def _reload_files(self) -> None:
        is_reloaded = await self._config.run_if_new()
        changed = await self._parts.files.reload(self._touched.take())
        targets = self._parts.files.targets
        self._parts.pool.manage(targets)
        self._keep()
        self._parts.pool.ask(changed, Trigger.FILES)
        if is_reloaded:
            self._parts.pool.ask_all(Trigger.CONFIG)
            if self._fetcher is not None:
                self._fetcher.ask()
        self._arm()
        self._look_again()
        self._readiness.find_unseen()

    def _look_again(self) -> None:
        """Look again once files that are still being written may have rested."""
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        left = self._parts.files.loaded.look_again
        if left is not None:
            rested = partial(self.trigger, Trigger.FILES, touched=())
            self._next_look = asyncio.get_running_loop().call_later(left + TICK, rested)

    def _keep(self) -> None:
        """Forget targets that no file names any more. Without files, nothing is forgotten."""
        if not self._parts.files.loaded.absent:
            self._parts.reporter.keep(self._parts.files.targets, self._parts.files.loaded)
        self._watch_stores()

    def _watch_stores(self, *, restart: bool = False) -> None:
        if self._stores is not None and not self._stop.asked.is_set():
            self._stores.use(self._parts.files.targets, restart=restart)

    async def _use_config(self, settings: RunConfig) -> None:
        """Put changed settings into force."""
        self._use(settings)
        self._watch_stores(restart=True)
        if self._on_reload is not None:
            await self._on_reload(settings)

    def _use(self, settings: RunConfig) -> None:
        self._settings = settings
        self._parts.gate.replace_windows(settings.windows)
        self._watcher.set_longest(settings.debounce)
        self._schedule.start(settings)
        self._report_next_tick()
        self._arm()

    def _arm(self) -> None:
        loaded = self._parts.files.loaded
        watched = set(loaded.watch) if self._settings.watch else set()
        self._watcher.arm(watched | ({self._control_dir} if self._control_dir else set()), own_paths(loaded.own))
