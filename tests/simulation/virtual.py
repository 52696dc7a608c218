"""An event loop with virtual time: once it is idle, its clock jumps to the next timer, so that weeks take seconds.

Sockets and threads are real, and time stands still while they work. The daemon, its scheduler, its back-offs, the
stores' rates and the emulators' lifetimes all see the loop's time.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeVar, TypeVarTuple, Unpack

import apscheduler.executors.base
import apscheduler.schedulers.base
import pytest

from kvsync.daemon.watch import Watcher
from kvsync.util.clock import Clock

_Result = TypeVar("_Result")
_Given = TypeVarTuple("_Given")

BEGIN = datetime(2026, 11, 16, tzinfo=UTC).timestamp()
"""A Monday."""

_SCHEDULING = (apscheduler.executors.base, apscheduler.schedulers.base)
"""Modules that ask the system for the time and cannot be given a clock."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time stands still while anything can be done, or a thread works."""

    def __init__(self) -> None:
        self.passed, self._jobs = 0.0, 0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Seconds since it was made."""
        return self.passed

    @property
    def busy(self) -> bool:
        """Whether a thread works."""
        return self._jobs > 0

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[_Given]], _Result], *args: *_Given
    ) -> asyncio.Future[_Result]:
        """As always; and time stands still until it is done."""
        future = super().run_in_executor(executor, func, *args)
        self._jobs += 1
        future.add_done_callback(self._job_done)
        return future

    def _job_done(self, _: asyncio.Future[Any]) -> None:
        self._jobs -= 1


class _Jumping(selectors.DefaultSelector):
    """Does not wait, but lets the time pass that it was to wait."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or (timeout > 0 and self._loop.busy):
            return super().select(timeout)
        found = super().select(0)
        if not found and timeout > 0:
            self._loop.passed += timeout
        return found


class LoopClock(Clock):
    """The time of a loop, from `BEGIN` on."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        return BEGIN + self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time()


async def _watch_nothing(_: Watcher) -> None:
    """A thread that waits for the system to report a change would hold up time forever; simulations tell of changes."""
    await asyncio.Event().wait()


def simulate(main: Callable[[LoopClock], Coroutine[Any, Any, _Result]]) -> _Result:
    """Run it to its end in virtual time; chance is the same each time."""
    loop = VirtualLoop()
    clock = LoopClock(loop)

    class VirtualDatetime(datetime):
        """`now` is the clock's."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> VirtualDatetime:
            return cls.fromtimestamp(clock.now(), tz)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Watcher, "run", _watch_nothing)
        for module in _SCHEDULING:
            patch.setattr(module, "datetime", VirtualDatetime)
        before = random.getstate()
        random.seed(1)
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                return runner.run(main(clock))
        finally:
            random.setstate(before)
