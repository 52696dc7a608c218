"""What this process waits for at the moment, so that a person who watches does not have to guess."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Final

from kvsync.util.clock import Clock
from kvsync.util.values import dataclass

_LEAST: Final = 1.0
"""Seconds of a wait that is worth a word."""

_place: ContextVar[str] = ContextVar("kvsync.waits.place", default="")


@dataclass(frozen=True, slots=True)
class Wait:
    """One wait: of whom (`store edge`; empty if nobody said), for what, and until when (monotonic seconds of `clock`)."""

    place: str
    reason: str
    until: float
    clock: Clock

    @property
    def left(self) -> float:
        """Seconds until it ends; 0 for one that is over."""
        return max(self.until - self.clock.monotonic(), 0.0)

    def __str__(self) -> str:
        """The wait for people: `store edge: waiting 3 min 34 s for the rate limit`."""
        minutes, seconds = divmod(round(self.left), 60)
        span = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
        return f"{self.place}{': ' if self.place else ''}waiting {span} for {self.reason}"


def reason_after(retry_after: float | None) -> str:
    """What a call waits for after an error, with which the server asked for a pause or not."""
    return "the next attempt" if retry_after is None else "the pause that the server asks for (Retry-After)"


class CurrentWaits:
    """The waits of this process that have not ended. Read by other threads too."""

    def __init__(self) -> None:
        self._waits: dict[int, Wait] = {}
        self._numbers = count()

    @contextmanager
    def shown(self, reason: str, until: float, clock: Clock) -> Iterator[None]:
        """Show a wait until the end of the block, unless it is too short to matter."""
        number = next(self._numbers)
        if until - clock.monotonic() >= _LEAST:
            self._waits[number] = Wait(_place.get(), reason, until, clock)
        try:
            yield
        finally:
            self._waits.pop(number, None)

    def longest(self, place: str | None = None) -> Wait | None:
        """The wait that ends last, of one place or of all; None while nothing waits."""
        waits = (one for one in tuple(self._waits.values()) if place in (None, one.place))
        return max(waits, key=lambda one: one.left, default=None)


WAITS: Final = CurrentWaits()
"""The waits of this process."""


@contextmanager
def waiting_place(place: str) -> Iterator[None]:
    """Say whose waits those inside the block are, unless that was said further out."""
    token = _place.set(_place.get() or place)
    try:
        yield
    finally:
        _place.reset(token)
