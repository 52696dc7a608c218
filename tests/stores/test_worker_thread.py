"""Blocking calls in a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from kvsync.stores import worker_thread
from kvsync.stores.worker_thread import WorkerThread


@pytest.fixture
def thread() -> Iterator[WorkerThread]:
    worker = WorkerThread()
    yield worker
    worker.close()


async def test_calls_are_done_in_order_in_one_other_thread(thread: WorkerThread) -> None:
    """Calls that come together, and those that come later, run one after the other in the same thread."""
    seen: list[tuple[int, int]] = []

    def call(number: int) -> int:
        seen.append((number, threading.get_ident()))
        return number

    first = await asyncio.gather(*(thread.run(partial(call, number)) for number in range(20)))
    assert (first, await thread.run(lambda: call(20))) == (list(range(20)), 20)
    assert [number for number, _ in seen] == list(range(21))
    (used,) = {ident for _, ident in seen}
    assert used != threading.get_ident()


async def test_an_exception_is_raised_where_the_call_was_made(thread: WorkerThread) -> None:
    """A call that fails raises there; those that came with it have their results."""

    def fail() -> None:
        raise ValueError("no")

    failed, done = await asyncio.gather(thread.run(fail), thread.run(lambda: 1), return_exceptions=True)
    assert isinstance(failed, ValueError)
    assert done == 1


async def test_no_call_waits_for_results_that_were_lost(thread: WorkerThread, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the thread has no memory for them, the calls fail, and the next ones run."""

    def fails(_calls: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(worker_thread, "_attempt_all", fails)
        async with asyncio.timeout(60):
            with pytest.raises(MemoryError):
                await thread.run(lambda: 1)
    assert await thread.run(lambda: 2) == 2


async def test_a_call_that_is_cancelled_first_is_never_begun(thread: WorkerThread) -> None:
    """Cancelled while another call holds the thread, a call does nothing."""
    gate, begun = threading.Event(), threading.Event()
    seen: list[int] = []

    def hold() -> None:
        begun.set()
        gate.wait(60)

    held = asyncio.ensure_future(thread.run(hold))
    await asyncio.to_thread(begun.wait, 60)
    late = asyncio.ensure_future(thread.run(lambda: seen.append(1)))
    await asyncio.sleep(0.01)
    late.cancel()
    gate.set()
    await held
    await thread.run(lambda: None)
    assert seen == []
