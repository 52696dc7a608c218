"""Log of failures that last: each is logged once, then at growing intervals, with how often it was met."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from math import inf

from kvsync.logs import get_logger
from kvsync.model.entry import Target
from kvsync.model.result import PassResult
from kvsync.util.backoff import BackoffPolicy
from kvsync.util.clock import Clock

INTERVALS = BackoffPolicy(base=900.0, cap=6 * 3600.0)
"""Between two events of one failure that lasts, without jitter."""

MOST_TEXTS = 8
"""Different errors of one failure that are logged between two events of it: a broken server may have another one each time."""

_log = get_logger()


class _LogEntry(Enum):
    """What is to be logged of a failure: that it began, that it goes on, or that it has another error."""

    BEGINS = auto()
    LASTS = auto()
    DIFFERS = auto()


@dataclass(slots=True)
class _LastingFailure:
    """A failure that lasts, `since` a moment (monotonic). It is logged again at `due_at`. `failures` counts how often it was
    met since it was logged last, and `errors` are those that were logged since then."""

    since: float
    failures: int = 0
    logged: int = 0
    due_at: float = -inf
    errors: set[str | None] = field(default_factory=set)

    def count_failure(self, error: str | None, now: float) -> _LogEntry | None:
        """Count one more, and return what is to be logged of it."""
        self.failures += 1
        if now >= self.due_at:
            self.logged += 1
            self.due_at = now + INTERVALS.longest(self.logged)
            self.errors = {error}
            return _LogEntry.BEGINS if self.logged == 1 else _LogEntry.LASTS
        if error in self.errors or len(self.errors) >= MOST_TEXTS:
            return None
        self.errors.add(error)
        return _LogEntry.DIFFERS

    def take_count(self) -> int:
        """Return how many failures there were since this was last called."""
        count, self.failures = self.failures, 0
        return count


@dataclass(slots=True)
class _Outage:
    """A store that is down, and the targets that it fails."""

    lasting: _LastingFailure
    targets: set[Target] = field(default_factory=set)


class FailureLog:
    """Logs failed passes and stores that are down."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._outages: dict[str, _Outage] = {}
        self._failing: dict[Target, _LastingFailure] = {}

    def note(self, result: PassResult, retry_in: float | None, *, held: bool) -> None:
        """Log what a pass adds to what was logged of its store and its target. The problems of a `held` target were logged when
        its files were read."""
        if not result.unavailable:
            self._respond(result.target)
        elif self._log_store(result, retry_in):
            return
        if result.error is None:
            self._failing.pop(result.target, None)
        elif not held:
            self._log_target(result, retry_in)

    def clear(self, target: Target) -> None:
        """Note that a target is no longer managed."""
        self._failing.pop(target, None)
        self._respond(target)

    def _log_store(self, result: PassResult, retry_in: float | None) -> bool:
        """Log that a store is down. Returns False for an error of the target alone: waiting does not help, and the store has
        not failed another target with it."""
        store, now = result.target.store, self._clock.monotonic()
        outage = self._outages.setdefault(store, _Outage(_LastingFailure(now)))
        outage.targets.add(result.target)
        lasting = outage.lasting
        if lasting.logged and not result.retryable and result.error not in lasting.errors:
            return False
        news, fields = (
            lasting.count_failure(result.error, now),
            {"store": store, "error": result.error, "code": result.code, "retry_in": retry_in},
        )
        if news is _LogEntry.BEGINS:
            lasting.take_count()
            _log.error("store.unavailable", **fields)
        elif news is _LogEntry.LASTS:
            seconds = round(now - lasting.since, 1)
            _log.error("store.down", **fields, failures=lasting.take_count(), seconds=seconds)
        elif news is _LogEntry.DIFFERS:
            _log_failed(result, retry_in)
        return True

    def _log_target(self, result: PassResult, retry_in: float | None) -> None:
        now = self._clock.monotonic()
        lasting = self._failing.setdefault(result.target, _LastingFailure(now))
        news = lasting.count_failure(result.error, now)
        if news is not None:
            count = lasting.take_count() if news is not _LogEntry.DIFFERS else 0
            _log_failed(result, retry_in, **({"failures": count} if news is _LogEntry.LASTS else {}))

    def _respond(self, target: Target) -> None:
        """Note that the store does not fail this target, and log that it is back when it fails none."""
        outage = self._outages.get(target.store)
        if outage is None:
            return
        if outage.targets == {target}:
            seconds = round(self._clock.monotonic() - outage.lasting.since, 1)
            _log.info("store.recovered", store=target.store, seconds=seconds)
            del self._outages[target.store]
        outage.targets.discard(target)


def _log_failed(result: PassResult, retry_in: float | None, **counts: int) -> None:
    names = {"store": result.target.store, "namespace": result.target.namespace}
    fields = {"error": result.error, "code": result.code, "retryable": result.retryable, "retry_in": retry_in}
    _log.error("pass.failed", **names, **fields, **counts)
