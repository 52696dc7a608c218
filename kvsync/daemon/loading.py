"""Reloads the files in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

PATIENCE = 2.0
"""Seconds that other triggers wait for the files; then passes go on with what was read before."""


class FileLoading:
    """Calls `look` when it is asked for: one call at a time, and one more for all that ask during a call."""

    def __init__(self, look: Callable[[], Awaitable[None]]) -> None:
        self._look = look
        self._asked, self._answered = 0, 0
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        """Look until cancelled. Raises what `look` raises."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._asked > self._answered)
                asked = self._asked
            await self._look()
            async with self._changed:
                self._answered = asked
                self._changed.notify_all()

    async def ask(self) -> bool:
        """Have the files read from now on. Returns whether that was done before patience ended."""
        async with self._changed:
            self._asked += 1
            mine = self._asked
            self._changed.notify_all()
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._changed.wait_for(lambda: self._answered >= mine)
            return self._answered >= mine
