"""Worker pool: one worker per target, so that no target waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from random import Random

from kvsync.daemon.pass_slots import PassSlots
from kvsync.daemon.worker import PassSource, Worker
from kvsync.model.entry import Target
from kvsync.model.result import Trigger
from kvsync.util.clock import Clock

LAST_WORD = 1.0
"""Seconds that a cancelled pass has to let go."""


class WorkerPool:
    """Keeps a worker for each managed target."""

    def __init__(self, passes: PassSource, slots: PassSlots, clock: Clock, rng: Random) -> None:
        self._passes, self._slots, self._clock, self._rng = passes, slots, clock, rng
        self._workers: dict[Target, Worker] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._started = False

    @property
    def working(self) -> list[Worker]:
        """The workers of the targets that are managed."""
        return [worker for worker in self._workers.values() if not worker.suspended]

    @property
    def running(self) -> int:
        """How many passes are in flight."""
        return sum(worker.running for worker in self._workers.values())

    @property
    def waiting(self) -> int:
        """How many passes are due and have not begun."""
        return sum(worker.is_waiting for worker in self._workers.values())

    def manage(self, targets: Iterable[Target]) -> None:
        """Run workers for exactly these targets, and suspend all others."""
        wanted = set(targets)
        for target in self._workers.keys() - wanted:
            self._workers[target].suspend()
        for target in sorted(wanted):
            if target not in self._workers:
                self._workers[target] = self._add(target)
            self._workers[target].resume()

    def ask(self, targets: Iterable[Target], trigger: Trigger, *, deep: bool = False) -> None:
        """Request a pass of each of these targets."""
        for target in targets:
            self._workers[target].ask(trigger, deep=deep)

    def ask_all(self, trigger: Trigger, *, deep: bool = False) -> None:
        """Request a pass of every managed target."""
        for worker in self.working:
            worker.ask(trigger, deep=deep)

    def start(self) -> None:
        """Start the workers, and from now on each worker that is added."""
        self._started = True
        self._tasks += [asyncio.create_task(worker.run()) for worker in self._workers.values()]

    async def pass_once(self) -> None:
        """Do the requested passes and no more. Returns when all are done; cancelling it leaves them running."""
        self._tasks += [asyncio.create_task(worker.pass_now()) for worker in self.working]
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def shutdown(self, hurry: asyncio.Event, within: float) -> int:
        """Let passes in flight end after their batch, for up to `within` seconds or until `hurry` is set; then cancel them.
        Returns how many had to be cancelled."""
        for worker in self._workers.values():
            worker.stop_after_pass()
        await _first(asyncio.gather(*self._tasks, return_exceptions=True), hurry, within)
        late = [task for task in self._tasks if not task.done()]
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=LAST_WORD)
        return len(late)

    def _add(self, target: Target) -> Worker:
        worker = Worker(target, self._passes, self._slots.of_store(target.store), self._clock, self._rng)
        if self._started:
            self._tasks.append(asyncio.create_task(worker.run()))
        return worker


async def _first(work: asyncio.Future[list[BaseException | None]], event: asyncio.Event, within: float) -> None:
    """Wait for the work, the event or the end of time, whichever comes first, and cancel nothing of the work."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((work, waiting), timeout=within, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
