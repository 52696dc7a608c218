"""Rate limits, and the minimum time between repeated calls. In virtual time."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

from kvsync.emulators.voximplant.errors import Refused


class Rate:
    """So many requests in any period; None means no limit. What is refused does not count."""

    def __init__(self, requests: int | None, period: float) -> None:
        self._requests, self._period = requests, period
        self._spent: deque[float] = deque()

    def reset(self) -> None:
        """Nothing is spent."""
        self._spent.clear()

    def spend(self, now: float) -> None:
        """Count one request. Raises Refused when there is no more."""
        if self._requests is None:
            return
        while self._spent and not 0 <= now - self._spent[0] < self._period:  # virtual time may go back, too
            self._spent.popleft()
        if len(self._spent) >= self._requests:
            raise Refused(340)
        self._spent.append(now)


class RepeatLimit:
    """Refuses a call that repeats an earlier one within `time` seconds, with the error `code`. 0 seconds refuse nothing."""

    def __init__(self, time: float, code: int) -> None:
        self._time, self._code = time, code
        self._last: dict[Hashable, float] = {}

    def reset(self) -> None:
        """Forget all earlier calls."""
        self._last.clear()

    def check(self, write: Hashable, now: float) -> None:
        """Raise Refused if the same write was made too recently."""
        self._last = {write: at for write, at in self._last.items() if 0 <= now - at < self._time}
        if write in self._last:
            raise Refused(self._code)

    def done(self, write: Hashable, now: float) -> None:
        """Record a write that was made."""
        if self._time:
            self._last[write] = now
