"""Background thread for blocking work, which does not delay the exit of the process."""

from __future__ import annotations

import asyncio
from _thread import allocate_lock, start_new_thread
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextvars import copy_context
from functools import partial
from typing import Any, Final, TypeVar

_Result = TypeVar("_Result")

_BEGIN_WITHIN: Final = 10.0
"""Seconds in which a thread begins, however busy the machine is."""


def start_thread(work: Callable[[], object]) -> None:
    """Run `work` in a daemon thread, which has begun when this returns. Raises RuntimeError if no thread can be started, and
    MemoryError if it does not begin, where `Thread.start` would wait forever."""
    begun = allocate_lock()
    begun.acquire()

    def begin() -> None:
        begun.release()
        work()

    start_new_thread(begin, ())
    if not begun.acquire(timeout=_BEGIN_WITHIN):
        raise MemoryError("a thread did not start")


class _DaemonThread(Executor):
    """Runs each call in a daemon thread of its own; the pool of asyncio would be waited for at the end."""

    def submit(self, fn: Callable[..., _Result], /, *args: Any, **kwargs: Any) -> Future[_Result]:
        """Start `fn(*args, **kwargs)`."""
        future: Future[_Result] = Future()
        work = partial(fn, *args, **kwargs)
        try:
            # Thread.start waits until the new thread has begun: forever, if that thread runs out of memory before.
            start_new_thread(_run, (future, work))
        except RuntimeError:  # no thread can be started: the work is done all the same, and everything waits for it
            _run(future, work)
        return future


async def in_background(work: Callable[[], _Result]) -> _Result:
    """Run `work` in a thread of its own; return or raise what it does. If the caller is cancelled, the thread goes on and
    its result is dropped."""
    return await asyncio.get_running_loop().run_in_executor(_DaemonThread(), copy_context().run, work)


async def off_loop(work: Callable[[], _Result], items: int, few: int = 2_000) -> _Result:
    """Run `work`, which processes `items` items, and return or raise what it does. More than `few` are processed in the
    background, so that health checks and other targets do not wait for them."""
    return await in_background(work) if items > few else work()


def _run(future: Future[_Result], work: Callable[[], _Result]) -> None:
    try:
        if not future.set_running_or_notify_cancel():
            return
        result = work()
    except BaseException as error:  # noqa: BLE001  # it is raised where the result is waited for
        future.set_exception(error)
    else:
        future.set_result(result)
