"""Worker thread for blocking calls.

Calls of one turn of the event loop are sent to the thread together, because a switch between threads costs more than a small
query.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from kvsync.util.background import start_thread

_Result = TypeVar("_Result")

_Call = tuple[Callable[[], Any], "asyncio.Future[Any]"]
_Done = tuple["asyncio.Future[Any]", Any, BaseException | None]
_Handed = tuple[Sequence[_Call], asyncio.AbstractEventLoop]


class WorkerThread:
    """Runs calls one at a time, in order. For one event loop."""

    def __init__(self) -> None:
        self._waiting: list[_Call] = []
        self._handed: SimpleQueue[_Handed | None] = SimpleQueue()
        self._is_started = False

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Run `work` and return its result, or raise its exception. A call that is cancelled before it begins never runs."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Result] = loop.create_future()
        self._waiting.append((work, future))
        if len(self._waiting) == 1:
            loop.call_soon(self._hand_over, loop)
        return await future

    def close(self) -> None:
        """End the thread after the calls that it was given."""
        self._handed.put(None)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        calls, self._waiting = self._waiting, []
        try:
            if not self._is_started:
                start_thread(partial(_work, self._handed))
                self._is_started = True
        except (RuntimeError, MemoryError) as error:  # later threads may start, and find these calls done
            _settle_all(_failed(calls, error))
        else:
            self._handed.put((calls, loop))


def _work(handed: SimpleQueue[_Handed | None]) -> None:
    """Run what is handed over, until it is None."""
    while (one := handed.get()) is not None:
        calls, loop = one
        try:
            attempts = _attempt_all(calls)
        except BaseException as error:  # noqa: BLE001 - such as missing memory for the results: nobody is left waiting
            attempts = _failed(calls, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_settle_all, attempts)


def _failed(calls: Sequence[_Call], error: BaseException) -> list[_Done]:
    return [(future, None, error) for _, future in calls]


def _attempt_all(calls: Sequence[_Call]) -> list[_Done]:
    return [_attempt(*call) for call in calls]


def _attempt(work: Callable[[], Any], future: asyncio.Future[Any]) -> _Done:
    if future.done():
        return future, None, None
    try:
        return future, work(), None
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
        return future, None, error


def _settle_all(attempts: Sequence[_Done]) -> None:
    for future, result, error in attempts:
        if future.done():
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
