"""Time that one pass may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from kvsync.errors import PassOverdue
from kvsync.model.entry import Target
from kvsync.util.clock import Clock


class PassTime:
    """Counts the time in which a pass plans and applies. Time between the two, such as waiting for a prompt, does not count."""

    def __init__(self, target: Target, seconds: float, clock: Clock) -> None:
        self._target, self._most, self._clock = target, seconds, clock
        self._spent = 0.0
        self._since: float | None = None

    @property
    def is_over(self) -> bool:
        """True once the pass must end."""
        running = 0.0 if self._since is None else self._clock.monotonic() - self._since
        return self._spent + running >= self._most

    @property
    def error(self) -> PassOverdue:
        """The error of a pass whose time is over."""
        limit = f"limits.pass_time, {self._most:g} s"
        return PassOverdue(f"{self._target}: the pass exceeded its time limit ({limit}); the next pass continues")

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the time inside the context."""
        self._since = self._clock.monotonic()
        try:
            yield
        finally:
            self._spent += self._clock.monotonic() - self._since
            self._since = None

    @asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """Count the time inside the context, and cancel it once none is left. Raises PassOverdue."""
        with self.counted():
            try:
                async with asyncio.timeout(max(self._most - self._spent, 0)) as limit:
                    yield
            except TimeoutError:
                if limit.expired():
                    raise self.error from None
                raise
