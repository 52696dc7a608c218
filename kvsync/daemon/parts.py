"""Steps shared by `run --once` and the daemon loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from kvsync.config.model import RunConfig
from kvsync.daemon.files import Files
from kvsync.daemon.gate import Gate
from kvsync.daemon.observer import DaemonObserver
from kvsync.daemon.pass_runner import PassRunner
from kvsync.daemon.pool import WorkerPool
from kvsync.daemon.ports import Leadership, Reconciler, StatusStore
from kvsync.daemon.report import Reporter
from kvsync.daemon.systemd import SystemdNotifier
from kvsync.model.entry import Target
from kvsync.model.result import Trigger
from kvsync.util.clock import Clock

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
        """Read the files, and ask for the first pass of every target. Raises what reading raises."""
        await self.files.first_look()
        self.pool.manage(self.files.targets)
        self.pool.ask_all(Trigger.START, deep=deep)


def assemble(
    reconciler: Reconciler,
    recorder: StatusStore,
    settings: RunConfig,
    notifier: SystemdNotifier,
    clock: Clock,
    *,
    observe: bool,
    rng: Random | None = None,
    on_pass_done: Callable[[Target], None] = lambda _target: None,
    observers: Sequence[DaemonObserver] = (),
    leadership: Leadership | None = None,
) -> DaemonParts:
    """Build and wire the parts."""
    leads = leadership.may_write if leadership is not None else lambda: True
    gate = Gate(settings.windows, observe=observe, clock=clock, leads=leads)
    files = Files(reconciler, clock)
    reporter = Reporter(recorder, notifier, gate, clock, observers, leadership)
    passes = PassRunner(reconciler, files, gate, reporter, on_pass_done)
    pool = WorkerPool(passes, clock, rng or Random())  # noqa: S311 - spreads retries, guards nothing
    return DaemonParts(files, gate, reporter, pool)
