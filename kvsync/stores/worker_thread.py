"""Worker thread for blocking calls.

Calls of one turn of the event loop are sent to the thread together, because a switch between threads costs more than a small
query.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

_Result = TypeVar("_Result")

_Call = tuple[Callable[[], Any], "asyncio.Future[Any]"]
_Done = tuple["asyncio.Future[Any]", Any, BaseException | None]


class WorkerThread:
    """Runs calls one at a time, in order. For one event loop."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: list[_Call] = []

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
        self._pool.shutdown(wait=False)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        calls, self._waiting = self._waiting, []
        try:
            handed = loop.run_in_executor(self._pool, _attempt_all, calls)
        except (
            RuntimeError,
            MemoryError,
        ) as error:  # no thread can be started; later ones may be, and find these calls done
            _settle_all([(future, None, error) for _, future in calls])
        else:
            handed.add_done_callback(partial(_settle, calls))


def _attempt_all(calls: Sequence[_Call]) -> list[_Done]:
    return [_attempt(*call) for call in calls]


def _attempt(work: Callable[[], Any], future: asyncio.Future[Any]) -> _Done:
    if future.done():
        return future, None, None
    try:
        return future, work(), None
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
        return future, None, error


def _settle(calls: Sequence[_Call], attempts: asyncio.Future[list[_Done]]) -> None:
    """Settle the calls. Without results, as where the memory for them is missing, none of them is left waiting."""
    error = attempts.exception()
    _settle_all(attempts.result() if error is None else [(future, None, error) for _, future in calls])


def _settle_all(attempts: Sequence[_Done]) -> None:
    for future, result, error in attempts:
        if future.done():
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
