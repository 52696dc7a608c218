"""Log of failures that last: each is logged once, then at growing intervals, with how often it was met."""

from __future__ import annotations

from dataclasses import dataclass, field

from kvsync.logs import get_logger
from kvsync.model.entry import Target
from kvsync.model.result import PassResult
from kvsync.util.backoff import BackoffPolicy
from kvsync.util.clock import Clock

INTERVALS = BackoffPolicy(base=900.0, cap=6 * 3600.0)
"""Between two events of one failure that lasts, without jitter."""

_log = get_logger()


@dataclass(slots=True)
class _Lasting:
    """A failure that lasts. `failures` counts how often it was met since it was last logged, `due_at` (monotonic) is when it is
    logged again."""

    text: str | None
    since: float
    failures: int = 0
    logged: int = 0
    due_at: float = 0.0

    def meet(self, now: float) -> int | None:
        """Count one more. Returns how many there were since the last event when it is time for one, else None."""
        self.failures += 1
        if now < self.due_at:
            return None
        failures, self.failures = self.failures, 0
        self.logged += 1
        self.due_at = now + INTERVALS.longest(self.logged)
        return failures


@dataclass(slots=True)
class _Outage:
    """A store that is down: what was logged of it, and the targets that it fails."""

    lasting: _Lasting
    targets: set[Target] = field(default_factory=set)


class FailureLog:
    """Logs failed passes and stores that are down."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._outages: dict[str, _Outage] = {}
        self._failing: dict[Target, _Lasting] = {}

    def store(self, result: PassResult, retry_in: float | None) -> None:
        """Log that a store is down when it fails its first target, and that it is back when it fails no more."""
        if not result.unavailable:
            self.up(result.target)
            return
        store, now = result.target.store, self._clock.monotonic()
        outage = self._outages.setdefault(store, _Outage(_Lasting(result.error, now)))
        outage.targets.add(result.target)
        failures = outage.lasting.meet(now)
        fields = {"store": store, "error": result.error, "retry_in": retry_in}
        if failures is not None and outage.lasting.logged == 1:
            _log.error("store.unavailable", **fields)
        elif failures is not None:
            seconds = round(now - outage.lasting.since, 1)
            _log.error("store.down", **fields, failures=failures, seconds=seconds)

    def failed(self, result: PassResult, retry_in: float | None) -> None:
        """Log that a pass failed, unless the event of its store, or an earlier one of its own, has just said the same."""
        fields = {"error": result.error, "retryable": result.retryable, "retry_in": retry_in}
        if result.unavailable:
            outage = self._outages.get(result.target.store)
            if outage is not None and outage.lasting.text == result.error:
                return
            lasting = self._failing.get(result.target)
            if lasting is None or lasting.text != result.error:
                lasting = self._failing[result.target] = _Lasting(result.error, self._clock.monotonic())
            failures = lasting.meet(self._clock.monotonic())
            if failures is None:
                return
            fields |= {"failures": failures} if lasting.logged > 1 else {}
        _log.error("pass.failed", store=result.target.store, namespace=result.target.namespace, **fields)

    def up(self, target: Target) -> None:
        """Note that the store does not fail this target, or that it is no longer managed."""
        self._failing.pop(target, None)
        outage = self._outages.get(target.store)
        if outage is None:
            return
        if outage.targets == {target}:
            seconds = round(self._clock.monotonic() - outage.lasting.since, 1)
            _log.info("store.recovered", store=target.store, seconds=seconds)
            del self._outages[target.store]
        outage.targets.discard(target)
