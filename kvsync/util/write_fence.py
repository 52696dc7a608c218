"""Final check before a write is sent: is this replica still the leader?

Where replicas share a lease, the leader stops writing before its lease ends, and whoever was paused meanwhile must find out
before it sends anything. So the question is asked where it matters: right before each call that writes, and before each piece
of a long one.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from kvsync.errors import NotLeader


class Fence:
    """Decides whether a write may be sent now. Always open unless it follows a lease."""

    def __init__(self) -> None:
        self.follows_lease = False
        """True where replicas share a lease."""
        self._seconds_left: Callable[[], float] = lambda: inf
        self._led_since: Callable[[], float] = lambda: -inf

    def follow(self, seconds_left: Callable[[], float], led_since: Callable[[], float] = lambda: -inf) -> None:
        """Make the fence follow a lease. `seconds_left` returns the time in which a write that is sent now must be complete;
        the fence is open only while it returns more than 0. `led_since` returns when this replica became the leader (epoch
        seconds, by the current wall clock)."""
        self._seconds_left, self._led_since = seconds_left, led_since
        self.follows_lease = True

    @property
    def led_since(self) -> float:
        """The time since which no other replica can have written (epoch seconds); earlier writes of this replica may have been
        overwritten. Minus infinity without a lease."""
        return self._led_since()

    @property
    def is_open(self) -> bool:
        """True if a write may be sent now."""
        return self._seconds_left() > 0

    def allowance(self, most: float) -> float:
        """Return how many seconds a write that is sent now may take; `most` without a lease. Raises NotLeader if it must not be
        sent at all."""
        left = self._seconds_left()
        if left <= 0:
            raise NotLeader("this replica is not the leader, so it writes nothing")
        return min(most, left)

    def check(self) -> None:
        """Raise NotLeader if nothing may be sent, not even the rest of a write."""
        self.allowance(inf)
