"""Watches of stores: a pass of a target as soon as another program changes something in it.

A store that reports changes is watched by one task. The schedule stays: what a watch misses, the next scheduled pass finds.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from random import Random
from typing import Final

from kvsync.daemon.ports import WatchedStores
from kvsync.errors import KvsyncError
from kvsync.logs import get_logger
from kvsync.model.entry import Target
from kvsync.util.backoff import Backoff
from kvsync.util.clock import Clock
from kvsync.util.shortage import code_of

MIN_GAP: Final = 1.0
"""Seconds between two passes of a target that changes in its store cause; changes in between cause one pass."""

_LASTED: Final = 60.0
"""Seconds that a watch must have lasted for its failure to be news."""

_log = get_logger()


class StoreWatcher:
    """Keeps one task for each watched store, and calls `on_change` with the targets that changed. Logs once why a store
    cannot be watched."""

    def __init__(self, stores: WatchedStores, clock: Clock, rng: Random, on_change: Callable[[Target], None]) -> None:
        self._stores, self._clock, self._rng, self._on_change = stores, clock, rng, on_change
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._watched: dict[str, frozenset[str]] = {}
        self._next: dict[Target, float] = {}
        self._waiting: dict[Target, asyncio.Task[None]] = {}

    def use(self, targets: Iterable[Target], *, restart: bool = False) -> None:
        """Watch exactly these targets, as far as their stores report changes; `restart` with a changed configuration."""
        names, wanted = self._stores.watched_stores(), defaultdict[str, set[str]](set)
        for target in targets:
            if target.store in names:
                wanted[target.store].add(target.namespace)
        watched = {store: frozenset(namespaces) for store, namespaces in wanted.items()}
        for store in self._watched.keys() | watched.keys():
            if restart or self._watched.get(store) != watched.get(store):
                self._replace(store, watched.get(store))
        self._watched = watched

    async def aclose(self) -> None:
        """Stop watching."""
        tasks = [*self._tasks.values(), *self._waiting.values()]
        self._tasks, self._watched, self._waiting = {}, {}, {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _replace(self, store: str, namespaces: frozenset[str] | None) -> None:
        if (task := self._tasks.pop(store, None)) is not None:
            task.cancel()
        if namespaces:
            self._tasks[store] = asyncio.create_task(self._watch(store, namespaces))

    async def _watch(self, store: str, namespaces: frozenset[str]) -> None:
        """Watch one store until cancelled, again whenever that ends."""
        backoff, began, said = Backoff(self._rng), 0.0, ""
        while True:
            began = self._clock.monotonic()
            try:
                await self._stores.watch_store(store, namespaces, lambda name: self._changed(Target(store, name)))
            except Exception as error:  # noqa: BLE001 - the schedule goes on without it
                is_expected = isinstance(error, KvsyncError)
                if self._clock.monotonic() - began > _LASTED:
                    backoff, said = Backoff(self._rng), ""
                text = str(error) if is_expected else "unexpected"
                if text != said:
                    fields = {"store": store, "error": text, "code": code_of(error)}
                    _log.warning("store.unwatched", **fields, exc_info=not is_expected)
                said = text
                await self._clock.sleep(backoff.fail())

    def _changed(self, target: Target) -> None:
        """Report a change: at once, but no more often than `MIN_GAP`."""
        if target in self._waiting:
            return
        left = self._next.get(target, 0.0) - self._clock.monotonic()
        if left <= 0:
            self._report(target)
        else:
            self._waiting[target] = asyncio.create_task(self._report_later(target, left))

    async def _report_later(self, target: Target, seconds: float) -> None:
        await self._clock.sleep(seconds)
        del self._waiting[target]
        self._report(target)

    def _report(self, target: Target) -> None:
        self._next[target] = self._clock.monotonic() + MIN_GAP
        self._on_change(target)
