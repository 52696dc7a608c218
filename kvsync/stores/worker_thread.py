"""One thread for blocking calls. Calls that wait together are done together, and wake the event loop once: a hand-over between
two threads costs more than a small query."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

_Result = TypeVar("_Result")

_Call = tuple[Callable[[], Any], "asyncio.Future[Any]"]
_Done = tuple["asyncio.Future[Any]", Any, BaseException | None]


class WorkerThread:
    """Does calls one at a time, in order. Used from one event loop."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: list[_Call] = []

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """The result of `work`, or the exception it raises. Cancelled before it begins, it is never begun."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Result] = loop.create_future()
        self._waiting.append((work, future))
        if len(self._waiting) == 1:
            loop.call_soon(self._hand_over, loop)
        return await future

    def close(self) -> None:
        """Let the thread end once what it was given is done."""
        self._pool.shutdown(wait=False)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        calls, self._waiting = self._waiting, []
        self._pool.submit(_work, calls, loop)


def _work(calls: Sequence[_Call], loop: asyncio.AbstractEventLoop) -> None:
    done = [_attempt(*call) for call in calls]
    with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
        loop.call_soon_threadsafe(_settle, done)


def _attempt(work: Callable[[], Any], future: asyncio.Future[Any]) -> _Done:
    if future.cancelled():
        return future, None, None
    try:
        return future, work(), None
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
        return future, None, error


def _settle(done: Sequence[_Done]) -> None:
    for future, result, error in done:
        if future.done():
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
