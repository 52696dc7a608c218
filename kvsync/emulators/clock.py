"""Virtual clock of the emulators, which tests can move."""

from __future__ import annotations

from kvsync.util.clock import Clock


class VirtualClock(Clock):
    """The system's clock, moved and stopped on command.

    `skew` (seconds) is something else: it makes the server's own clock wrong, which clients see in the `Date` header and
    signatures are checked against, and leaves the time of entries alone.
    """

    def __init__(self, system: Clock | None = None) -> None:
        self._system = system or Clock()
        self.reset()

    def reset(self) -> None:
        """Back to the system's time, running."""
        self._offset = 0.0
        self._stopped: float | None = None
        self.skew = 0.0

    def now(self) -> float:
        """Virtual time in seconds since the Unix epoch."""
        return self._system.now() + self._offset if self._stopped is None else self._stopped

    def server_time(self) -> float:
        """What the server believes the time to be, in seconds since the Unix epoch; virtual time does not move it."""
        return self._system.now() + self.skew

    @property
    def frozen(self) -> bool:
        """Whether virtual time stands still."""
        return self._stopped is not None

    def set(self, moment: float) -> None:
        """Make it this moment, in seconds since the Unix epoch."""
        self._offset = moment - self._system.now()
        if self._stopped is not None:
            self._stopped = moment

    def advance(self, seconds: float) -> None:
        """Move on, or back."""
        self.set(self.now() + seconds)

    def freeze(self, frozen: bool) -> None:
        """Let time stand still, or go on from where it stood."""
        now = self.now()
        self._stopped = now if frozen else None
        self.set(now)
