"""Readiness of the daemon: whether every managed target has had its first pass."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from kvsync.daemon.parts import DaemonParts
from kvsync.logs import get_logger
from kvsync.model.entry import Target
from kvsync.util.clock import Clock
from kvsync.util.memory import release_free_memory

READY_WITHIN = 60.0
"""Seconds after which the daemon counts as ready although some store has not answered yet: systemd waits for 90."""

_log = get_logger()


class Readiness:
    """Knows which managed targets still wait for their first pass."""

    def __init__(self, parts: DaemonParts, clock: Clock) -> None:
        self._parts, self._clock = parts, clock
        self._unseen: set[Target] = set()
        self._first_passes = asyncio.Event()

    def is_reached(self) -> bool:
        """True once every target that was managed has had its first pass."""
        return self._first_passes.is_set()

    def pass_done(self, target: Target) -> None:
        """Note that a pass of a target is over, whatever became of it."""
        self._unseen.discard(target)
        self._check()

    def find_unseen(self) -> None:
        """Find the managed targets that no pass has seen yet. There may be no targets at all."""
        self._unseen = {worker.target for worker in self._parts.pool.working if worker.last is None}
        self._check()

    async def announce(self) -> None:
        """Report that the daemon is ready, once it is, or after `READY_WITHIN` seconds."""
        began = self._clock.monotonic()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._first_passes.wait(), READY_WITHIN)
        self._parts.reporter.ready = True
        self._parts.reporter.notifier.ready()
        self._parts.reporter.daemon_changed()
        seconds = round(self._clock.monotonic() - began, 3)
        _log.info("daemon.ready", targets=len(self._parts.pool.working), seconds=seconds)
        release_free_memory()  # reading all files and the first passes needed more than anything that follows

    def _check(self) -> None:
        if not self._unseen and not self._parts.files.loaded.absent:
            self._first_passes.set()
