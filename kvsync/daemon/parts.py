"""Components and steps shared by `run --once` and the daemon loop."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import field
from pathlib import Path
from random import Random

from kvsync.config.model import RunConfig
from kvsync.daemon.files import Files
from kvsync.daemon.gate import Gate
from kvsync.daemon.observer import DaemonObserver
from kvsync.daemon.pass_runner import PassRunner
from kvsync.daemon.pass_slots import PassSlots
from kvsync.daemon.pool import WorkerPool
from kvsync.daemon.ports import Candidate, FetchedSource, Leadership, Reconciler, StatusStore, UndoPort, WatchedStores
from kvsync.daemon.report import Reporter
from kvsync.daemon.signals import SignalInbox
from kvsync.daemon.systemd import SystemdNotifier
from kvsync.daemon.watch import WatchTiming
from kvsync.model.entry import Target
from kvsync.model.result import Trigger
from kvsync.util.clock import Clock
from kvsync.util.values import dataclass

LEAVE_WITHIN = 8.0
"""Seconds that passes in flight have to finish their batch; with what else leaving takes it stays below ten."""


@dataclass(frozen=True, slots=True)
class DaemonParts:
    """The parts, wired to each other."""

    files: Files
    gate: Gate
    reporter: Reporter
    pool: WorkerPool

    async def begin(self, *, deep: bool = False) -> None:
        """Read the files, and request the first pass of every target. Raises KvsyncError if they cannot be read."""
        await self.files.load_first()
        self.pool.manage(self.files.targets)
        self.pool.ask_all(Trigger.START, deep=deep)


@dataclass(frozen=True, slots=True)
class DaemonOptions:
    """How a daemon runs, besides its configuration.

    `remote` is where the files are fetched from, `stores` are those that may be watched; `control_dir` the folder whose stamp
    wakes the daemon; `pace` how long file changes are gathered; `leave_within` the seconds that passes in flight have to end;
    `on_reload` receives a changed configuration. `inbox` has the signals that arrived while the daemon started; `undo` knows
    what operators want undone; `candidate` leaves the lease to others while no pass works."""

    remote: FetchedSource | None = None
    stores: WatchedStores | None = None
    notifier: SystemdNotifier = field(default_factory=lambda: SystemdNotifier(os.environ))
    observe: bool = False
    control_dir: Path | None = None
    clock: Clock = field(default_factory=Clock)
    rng: Random = field(default_factory=Random)
    pace: WatchTiming | None = None
    leave_within: float = LEAVE_WITHIN
    observers: Sequence[DaemonObserver] = ()
    on_reload: Callable[[RunConfig], Awaitable[None]] | None = None
    leadership: Leadership | None = None
    candidate: Candidate | None = None
    inbox: SignalInbox = field(default_factory=SignalInbox)
    undo: UndoPort | None = None


def assemble(
    reconciler: Reconciler,
    recorder: StatusStore,
    settings: RunConfig,
    options: DaemonOptions,
    on_pass_done: Callable[[Target], None] = lambda _target: None,
) -> DaemonParts:
    """Build and wire the parts."""
    clock, leadership = options.clock, options.leadership
    leads = leadership.may_write if leadership is not None else lambda: True
    gate = Gate(settings.windows, observe=options.observe, clock=clock, leads=leads)
    files = Files(reconciler, clock)
    reporter = Reporter(recorder, options.notifier, gate, clock, options.observers, leadership)
    if options.candidate is not None:
        options.candidate.is_able = reporter.is_able
    passes = PassRunner(reconciler, files, gate, reporter, on_pass_done)
    pool = WorkerPool(passes, PassSlots(reconciler.state_delay), clock, options.rng)
    return DaemonParts(files, gate, reporter, pool)
