"""Reports of the daemon: log events, its row in the state directory, and systemd status."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from kvsync import __version__
from kvsync.daemon.failure_log import FailureLog
from kvsync.daemon.gate import Gate
from kvsync.daemon.observer import DaemonObserver
from kvsync.daemon.pass_counts import PassCounts
from kvsync.daemon.ports import Leadership, LoadedTargets, PassRequest, StatusStore
from kvsync.daemon.systemd import SystemdNotifier
from kvsync.daemon.work_health import WorkHealth
from kvsync.errors import ClaimLost, ErrorCode, KvsyncError
from kvsync.logs import get_logger
from kvsync.model.change import OutcomeKind
from kvsync.model.entry import Target
from kvsync.model.result import PassResult, Trigger
from kvsync.state.passes import DaemonRecord
from kvsync.util.clock import Clock

_KINDS = (
    OutcomeKind.APPLIED,
    OutcomeKind.FAILED,
    OutcomeKind.UNKNOWN,
    OutcomeKind.CONFLICT,
    OutcomeKind.STALE,
    OutcomeKind.REFUSED,
)
"""Outcomes that are counted in the log; what is pending says the rest."""

_log = get_logger()


class Reporter:
    """Remembers what it reported, so that a lasting state is reported once. The observers get everything."""

    def __init__(
        self,
        recorder: StatusStore,
        notifier: SystemdNotifier,
        gate: Gate,
        clock: Clock,
        observers: Sequence[DaemonObserver] = (),
        leadership: Leadership | None = None,
    ) -> None:
        self.notifier = notifier
        self.observers = tuple(observers)
        self.ready = False
        self._recorder, self._gate, self._clock, self._leadership = recorder, gate, clock, leadership
        self._started = clock.now()
        self._counts = PassCounts()
        self._parked: dict[Target, str] = {}
        self._waiting: set[Target] = set()
        self._early: dict[Target, str] = {}
        self._began: dict[Target, tuple[tuple[Trigger, ...], float]] = {}
        self._failures = FailureLog(clock)
        self._health = WorkHealth()
        self._is_unrecorded = False

    def triggered(self, trigger: Trigger) -> None:
        """Report a trigger."""
        for observer in self.observers:
            observer.triggered(trigger)

    def tick_scheduled(self, next_tick: float | None) -> None:
        """Report when the next scheduled pass of all targets is due (epoch seconds); None: never."""
        for observer in self.observers:
            observer.tick_scheduled(next_tick)

    def stopping(self) -> None:
        """Report that the daemon is about to stop, to systemd too."""
        self.notifier.stopping()
        for observer in self.observers:
            observer.stopping()

    def pass_started(self, request: PassRequest) -> None:
        """Report that a pass begins."""
        self._began[request.target] = request.triggers, self._clock.monotonic()
        self._health.began(self._clock.monotonic())
        _log.debug("pass.started", **_names(request.target), trigger="+".join(request.triggers), deep=request.deep)
        for observer in self.observers:
            observer.pass_started(request)

    def is_able(self) -> bool:
        """False when no pass has worked for some time, so that another replica should lead."""
        return self._health.is_able(self._clock.monotonic())

    def pass_crashed(self, target: Target) -> None:
        """Log the current exception, with its traceback: it is a mistake in kvsync, not in the input."""
        _log.error("pass.failed", **_names(target), error="unexpected", code=ErrorCode.BUG, exc_info=True)

    def pass_done(self, result: PassResult, *, held: bool) -> None:
        """Report the result of a pass. `held`: the problems of its files were said when they were read."""
        triggers, began = self._begin_of(result.target)
        now = self._clock.now()
        result = replace(result, triggers=triggers, at=now, seconds=self._clock.monotonic() - began)
        self._counts.add(result)
        self._health.ended(works=result.error is None)
        retry_in = None if result.next_at is None else max(round(result.next_at - now, 1), 0.0)
        self._failures.note(result, retry_in, held=held)
        if result.error is None:
            self._log_finished(result)
            self._log_parked(result)
            self._log_waiting(result)
            self._log_early(result)
        self._record(result, now)
        for observer in self.observers:
            observer.pass_done(result)
        self.notifier.status(self.summary())

    def _record(self, result: PassResult, now: float) -> None:
        """Record a result for `kvsync status`. A pass with nothing to do writes nothing else, so a state that cannot be written
        is logged here."""
        counts = {"drift": result.drift, "changes": result.changes}
        try:
            self._recorder.record(result.target, now, error=result.message, next_at=result.next_at, **counts)
        except ClaimLost:  # whoever has the target records its own
            return
        except KvsyncError as error:
            if not self._is_unrecorded and result.error is None:
                _log.error("status.unrecorded", error=str(error), code=error.code)
            self._is_unrecorded = True
        else:
            self._is_unrecorded = False

    def keep(self, targets: frozenset[Target], loaded: LoadedTargets) -> None:
        """Forget all targets except these, which the loaded files name."""
        for observer in self.observers:
            observer.files_loaded(targets, loaded)
        for target in self._counts.keep(targets):
            self._parked.pop(target, None)
            self._waiting.discard(target)
            self._early.pop(target, None)
            self._began.pop(target, None)
            self._failures.clear(target)
        with suppress(KvsyncError):
            self._recorder.keep(targets)
        self.notifier.status(self.summary())

    def daemon_changed(self) -> None:
        """Write the daemon's own row in the state directory."""
        window = self._gate.denied_by
        text = f"{window.cron} {window.timezone}" if window else None
        mode = "observe" if self._gate.observe else "apply"
        lease = self._leadership.lease if self._leadership is not None else None
        now = self._clock.now()
        row = DaemonRecord(os.getpid(), self._started, now, mode, __version__, self.ready, text, lease)
        with suppress(KvsyncError):
            self._recorder.set_daemon(row)
        for observer in self.observers:
            observer.daemon_changed(row, self._gate.changes_at)
        self.notifier.status(self.summary())

    def window_changed(self) -> None:
        """Report that a window opened or closed, also in the daemon's own row."""
        self.log_window()
        self.daemon_changed()

    def log_window(self) -> None:
        """Log whether a window denies applying."""
        window, until = self._gate.denied_by, self._gate.changes_at
        if window is None:
            _log.info("window.opened", until=until)
        else:
            _log.info("window.closed", window=window.cron, until=until)

    def daemon_left(self) -> None:
        """Delete the daemon's own row."""
        with suppress(KvsyncError):
            self._recorder.clear_daemon()

    def summary(self) -> str:
        """One line for `systemctl status`."""
        parts = [str(self._counts)]
        if self._gate.denied_by is not None:
            parts.append("a maintenance window blocks applying")
        if not self._gate.leads():
            parts.append("standby: this replica is not the leader")
        return ", ".join(parts)

    def _log_finished(self, result: PassResult) -> None:
        if result.triggers == (Trigger.SCHEDULE,) and not _is_news(result):
            _log.debug("pass.unchanged", **_names(result.target), seconds=round(result.seconds, 3))
            return
        _log.info(
            "pass.finished",
            **_names(result.target),
            trigger="+".join(result.triggers),
            ok=result.ok,
            **{kind: result.changes[kind] for kind in _KINDS if result.changes.get(kind)},
            pending=result.pending,
            drifted=sum(result.drift.values()),
            parked=bool(result.parked),
            seconds=round(result.seconds, 3),
            next=result.next_at,
        )

    def _begin_of(self, target: Target) -> tuple[tuple[Trigger, ...], float]:
        """Why the last pass of a target began, and when (monotonic)."""
        return self._began.get(target, ((), self._clock.monotonic()))

    def _log_parked(self, result: PassResult) -> None:
        was = self._parked.pop(result.target, None)
        if result.parked:
            self._parked[result.target] = result.digest
            if result.digest != was:
                _log.warning(
                    "target.parked",
                    **_names(result.target),
                    digest=result.digest,
                    reasons=result.parked,
                    code=ErrorCode.PARKED,
                )
        elif was is not None:
            _log.info("target.released", **_names(result.target), digest=was)

    def _log_waiting(self, result: PassResult) -> None:
        if not result.deletes_waiting:
            self._waiting.discard(result.target)
        elif result.target not in self._waiting:
            self._waiting.add(result.target)
            fields = {"count": result.deletes_waiting, "until": result.waits_until, "code": ErrorCode.DELETES_WAITING}
            _log.warning("deletes.waiting", **_names(result.target), **fields)

    def _log_early(self, result: PassResult) -> None:
        was = self._early.pop(result.target, None)
        if result.early is not None:
            self._early[result.target] = result.early
            if result.early != was:
                _log.info("wave.waiting", **_names(result.target), reason=result.early, until=result.waits_until)


def _names(target: Target) -> dict[str, str]:
    return {"store": target.store, "namespace": target.namespace}


def _is_news(result: PassResult) -> bool:
    """True when a pass did something, or left something to do."""
    return any(result.changes.values()) or any(result.drift.values()) or bool(result.pending or result.parked)
