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
    """Decides whether a write may be sent now. Always open, until it follows a lease."""

    def __init__(self) -> None:
        self.follows_lease = False
        """True where replicas share a lease."""
        self._seconds_left: Callable[[], float] = lambda: inf
        self._led_since: Callable[[], float] = lambda: -inf

    def follow(self, seconds_left: Callable[[], float], led_since: Callable[[], float] = lambda: -inf) -> None:
        """Be open only while `seconds_left` gives more than 0: the seconds within which a write that goes out now must be over.
        `led_since` gives when this replica began to lead (epoch seconds, by the wall clock as it is set now)."""
        self._seconds_left, self._led_since = seconds_left, led_since
        self.follows_lease = True

    @property
    def led_since(self) -> float:
        """Since when no other replica can have written (epoch seconds); what this one wrote earlier may have been overwritten.
        Minus infinity where there is no lease."""
        return self._led_since()

    @property
    def is_open(self) -> bool:
        """True when a write may go out now."""
        return self._seconds_left() > 0

    def allowance(self, most: float) -> float:
        """How many seconds a write that goes out now may take, `most` where there is no lease. Raises NotLeader when it must
        not go out at all."""
        left = self._seconds_left()
        if left <= 0:
            raise NotLeader("this replica is not the leader, so it writes nothing")
        return min(most, left)

    def check(self) -> None:
        """Raise NotLeader when nothing may go out, the rest of a write neither."""
        self.allowance(inf)
