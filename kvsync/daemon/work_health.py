"""Detects that no pass of this daemon succeeds."""

from __future__ import annotations

from typing import Final

UNABLE_AFTER: Final = 15.0
"""Seconds after which a replica does not lead any more, if no pass has worked since one began that failed or hangs."""


class WorkHealth:
    """Knows since when every pass has failed, or hangs. A pass of any target that works ends that. Moments are monotonic."""

    def __init__(self) -> None:
        self._since: float | None = None

    def began(self, now: float) -> None:
        """Note that a pass begins."""
        self._since = now if self._since is None else self._since

    def ended(self, *, works: bool) -> None:
        """Note that a pass ended."""
        if works:
            self._since = None

    def is_able(self, now: float) -> bool:
        """False once nothing has worked for too long. Who has nothing to do is able."""
        return self._since is None or now - self._since < UNABLE_AFTER
