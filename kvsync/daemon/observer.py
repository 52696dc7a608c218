"""Observer interface for the events of the daemon."""

from __future__ import annotations

from kvsync.daemon.ports import LoadedTargets, PassRequest
from kvsync.model.entry import Target
from kvsync.model.result import PassResult, Trigger
from kvsync.state.passes import DaemonRecord


class DaemonObserver:
    """Receives the events of the daemon. The methods are called in the daemon's loop: they return at once and raise nothing.

    Those that are not overridden ignore the event.
    """

    def triggered(self, trigger: Trigger) -> None:
        """Something happened that makes the daemon look."""

    def files_loaded(self, targets: frozenset[Target], loaded: LoadedTargets) -> None:
        """The files were read; from now on exactly these targets are managed."""

    def tick_scheduled(self, next_tick: float | None) -> None:
        """The next scheduled pass of everything is due then (epoch seconds), or never."""

    def pass_started(self, request: PassRequest) -> None:
        """A pass begins."""

    def pass_done(self, result: PassResult) -> None:
        """A pass of a managed target is over, whatever became of it."""

    def daemon_changed(self, daemon: DaemonRecord, window_changes_at: float | None) -> None:
        """The daemon's mode, readiness or window changed; `window_changes_at` is when windows next begin or end to deny."""

    def stopping(self) -> None:
        """The daemon is about to leave."""
