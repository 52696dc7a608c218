"""Waits for an event or a deadline, whichever comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from kvsync.util.clock import Clock

LONGEST_WAIT = 60.0
"""Seconds after which a sleeper looks at the clock again: the wall clock may be set, and a laptop may sleep."""


async def wait_until(event: asyncio.Event, seconds_left: Callable[[], float | None], clock: Clock) -> None:
    """Wait until the event is set or `seconds_left()` is 0 or less; None from it means no moment is known."""
    while not event.is_set():
        left = seconds_left()
        if left is None:
            await event.wait()
        elif left > 0:
            await _wait_for_event(event, min(left, LONGEST_WAIT), clock)
        else:
            return


async def _wait_for_event(event: asyncio.Event, seconds: float, clock: Clock) -> None:
    tasks = (asyncio.ensure_future(event.wait()), asyncio.ensure_future(clock.sleep(seconds)))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
