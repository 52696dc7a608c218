"""What a process of an episode does before it becomes a command."""

from __future__ import annotations

import asyncio

from kvsync.util.clock import Clock
from tests.support.interposer import count_calls, waits_for_real


def prepare() -> None:
    """Count calls, and go on at once where kvsync would wait, unless the process is to wait for real."""
    count_calls()
    if not waits_for_real():
        _go_on_at_once()


def _go_on_at_once() -> None:
    steady, waited = Clock.monotonic, 0.0

    async def sleep(self: Clock, seconds: float) -> None:
        nonlocal waited
        waited += seconds
        await asyncio.sleep(0)

    Clock.sleep = sleep  # type: ignore[method-assign]
    Clock.monotonic = lambda self: steady(self) + waited  # type: ignore[method-assign]
