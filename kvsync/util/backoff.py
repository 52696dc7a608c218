"""Exponential back-off with full jitter: how long to wait before something that failed is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvsync.util.values import dataclass

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """Bounds of the waits in seconds: `base` after the first failure, doubled by each further one, `cap` at most."""

    base: float
    cap: float

    def longest(self, failures: int) -> float:
        """Return the upper bound of the wait after so many failures in a row, at least one."""
        return min(self.cap, self.base * 2.0 ** min(failures - 1, 32))

    def delay(self, failures: int, rng: Random, retry_after: float | None = None) -> float:
        """Return a wait anywhere up to the upper bound, on top of what the server asks for: then not all come back at once."""
        return (retry_after or 0) + rng.uniform(0, self.longest(failures))


LONG_RUNNING = BackoffPolicy(base=1.0, cap=300.0)
"""For the daemon, which never gives up."""


class Backoff:
    """Counts failures in a row, and returns how long to wait after each."""

    def __init__(self, rng: Random, policy: BackoffPolicy = LONG_RUNNING) -> None:
        self._rng, self._policy = rng, policy
        self._failures = 0

    def fail(self, retry_after: float | None = None) -> float:
        """Count one failure that time may heal. Returns the seconds to wait, never less than `retry_after`."""
        self._failures += 1
        return self._policy.delay(self._failures, self._rng, retry_after)

    def give_up(self) -> float:
        """Count one failure that time alone does not heal. Returns the seconds to wait: at least half the cap at once."""
        self._failures += 1
        return self._rng.uniform(self._policy.cap / 2, self._policy.cap)

    def reset(self) -> None:
        """Forget the failures."""
        self._failures = 0
