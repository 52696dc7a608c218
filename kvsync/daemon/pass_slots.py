"""Limits on the passes that run at the same time: by store, and by how long the state takes to answer."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Final

PASSES_PER_STORE: Final = 8
"""Passes of one store at the same time: enough to hide its latency, few enough not to be throttled for it."""

BLOCKED_SECONDS: Final = 0.3
"""How long the calls of all passes in flight to the state may block the event loop, one call of each."""


class PassSlots:
    """Gives each pass a slot of its store. Passes call the state from the event loop, which serves page, lease and watchdog in
    between. While the state answers slowly, there are therefore fewer slots for all stores together, and a rest before each
    pass: one that fails early would otherwise be followed by the next in the same turn of the loop. `delay` returns how long
    a call takes (seconds)."""

    def __init__(self, delay: Callable[[], float]) -> None:
        self._delay, self._running, self._ended = delay, 0, asyncio.Event()
        self._of_stores: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(PASSES_PER_STORE))

    def of_store(self, store: str) -> PassSlot:
        """The slots of a store, as a context."""
        return PassSlot(self, self._of_stores[store])

    async def enter(self) -> None:
        """Wait until the state is fast enough for one more pass; at least one runs. Cancelled, it takes no slot."""
        while self._running >= self._most():
            self._ended.clear()
            await self._ended.wait()
        self._running += 1
        if (delay := self._delay()) > 0:
            try:
                await asyncio.sleep(delay if self._most() < PASSES_PER_STORE else 0)
            except BaseException:
                self.leave()
                raise

    def leave(self) -> None:
        """Let another pass begin."""
        self._running -= 1
        self._ended.set()

    def _most(self) -> float:
        delay = self._delay()
        return max(BLOCKED_SECONDS / delay, 1) if delay > 0 else float("inf")


class PassSlot:
    """Context of one pass at a time, entered as often as there are passes."""

    def __init__(self, slots: PassSlots, of_store: asyncio.Semaphore) -> None:
        self._slots, self._of_store = slots, of_store

    async def __aenter__(self) -> None:
        await self._of_store.acquire()
        try:
            await self._slots.enter()
        except BaseException:
            self._of_store.release()
            raise

    async def __aexit__(self, *error: object) -> None:
        self._slots.leave()
        self._of_store.release()
