"""Undo requests of operators: finds the targets that need a pass for one, and those that get no passes any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from kvsync.daemon.gate import Gate
from kvsync.daemon.ports import UndoPort
from kvsync.errors import KvsyncError
from kvsync.logs import get_logger
from kvsync.model.entry import Target

_log = get_logger()


class UndoDispatcher:
    """Finds out what is to be undone. Targets that no file names have no worker, so it is done here, one task a target."""

    def __init__(self, port: UndoPort | None, gate: Gate, stop: Callable[[], bool]) -> None:
        self._port, self._gate, self._stop = port, gate, stop
        self._running: dict[Target, asyncio.Task[None]] = {}

    def begin_requested(self, managed: Collection[Target]) -> frozenset[Target]:
        """The managed targets that need a pass for an undo; the others are begun."""
        if self._port is None or self._gate.observe or not self._gate.leads():
            return frozenset()
        try:
            requested = self._port.undo_requested()
        except KvsyncError as error:  # the passes meet the same error, and report it
            _log.error("undo.failed", error=str(error), code=error.code)
            return frozenset()
        for target in requested.difference(managed) - self._running.keys():
            self._running[target] = asyncio.create_task(self._carry_out(self._port, target))
        return requested.intersection(managed)

    async def shutdown(self, within: float) -> None:
        """Let what is under way end after its batch, and cancel it after `within` seconds: the request stays."""
        if self._running:
            _, late = await asyncio.wait(self._running.values(), timeout=within)
            for task in late:
                task.cancel()

    async def _carry_out(self, port: UndoPort, target: Target) -> None:
        try:
            await port.carry_out_undo(target, self._stop)
        except KvsyncError as error:
            names = {"store": target.store, "namespace": target.namespace}
            _log.error("undo.failed", **names, error=str(error), code=error.code)
        finally:
            self._running.pop(target, None)
