"""Runs the daemon's tasks until it is asked to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, object]) -> bool:
    """Do the work, and return True. When `stop` is set before it is done, cancel it and return False. Raises what it raises."""
    task, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        return task.done()
    finally:
        for one in (task, stopping):
            one.cancel()
        await asyncio.gather(task, stopping, return_exceptions=True)


async def run_until(stop: asyncio.Event, jobs: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run the jobs until `stop` is set; then cancel them. A job that fails ends it, and its error is raised."""
    stopping = asyncio.ensure_future(stop.wait())
    tasks = [asyncio.ensure_future(job) for job in jobs]
    running: set[asyncio.Future[Any]] = {stopping, *tasks}
    try:
        while not stopping.done():
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        for task in (stopping, *tasks):
            task.cancel()
        await asyncio.gather(stopping, *tasks, return_exceptions=True)


async def result_of(future: asyncio.Future[None]) -> None:
    """Wait for a future, as a job. Raises what the future raises."""
    await future
