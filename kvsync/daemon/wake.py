"""Wake file: commands touch it after they paused, resumed, approved, retried or undid something."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from kvsync.daemon.parts import DaemonParts
from kvsync.daemon.undoing import UndoDispatcher
from kvsync.errors import KvsyncError
from kvsync.model.entry import Target
from kvsync.model.result import Trigger

WAKE_FILE = "wake"
"""The file in the control directory that is touched to wake the daemon."""


class WakeFile:
    """Reports when the wake file was touched. Without a control directory it never is."""

    def __init__(self, control_dir: Path | None) -> None:
        self._control_dir = control_dir
        self._stamp = self._read()

    def is_touched(self) -> bool:
        """True if the file was touched since this was last asked."""
        before, self._stamp = self._stamp, self._read()
        return self._stamp != before

    def _read(self) -> int:
        """The file's modification time in nanoseconds; 0 if there is none."""
        try:
            return (self._control_dir / WAKE_FILE).stat().st_mtime_ns if self._control_dir else 0
        except OSError:
            return 0


class Waker:
    """Requests the passes that an operator's command may concern."""

    def __init__(
        self,
        parts: DaemonParts,
        undoing: UndoDispatcher,
        paused_among: Callable[[Collection[Target]], Collection[Target]],
    ) -> None:
        self._parts, self._undoing, self._paused_among = parts, undoing, paused_among

    def wake(self) -> None:
        """Request a pass of each target that was paused or resumed, is parked or deferred, or has something to undo. A pass in
        flight may have looked too early, so its target gets another one."""
        undone = self._undoing.begin_requested(self._parts.files.targets)
        workers = self._parts.pool.working
        changed = self._pauses_changed([worker.target for worker in workers])
        for worker in workers:
            waits = worker.last is not None and (worker.last.parked or worker.last.deferred)
            if worker.target in changed or waits or worker.running or worker.target in undone:
                worker.ask(Trigger.WAKE)

    def _pauses_changed(self, targets: Collection[Target]) -> frozenset[Target]:
        try:
            paused = self._paused_among(targets)
        except KvsyncError:
            return frozenset(targets)  # their passes meet the same error, and report it
        return frozenset(one for one in targets if self._parts.gate.set_paused(one, paused=one in paused))
