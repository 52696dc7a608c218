"""Current waits of this process, such as for a rate limit or before a retry, shown as progress and in the status."""

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
    """One wait: its place (`store edge`; empty if unknown), its reason, and its end (monotonic seconds of `clock`)."""

    place: str
    reason: str
    until: float
    clock: Clock

    @property
    def left(self) -> float:
        """Seconds until it ends; 0 for one that is over."""
        return max(self.until - self.clock.monotonic(), 0.0)

    @property
    def words(self) -> str:
        """How long it lasts, and for what: `waiting 3 min 34 s for the rate limit`."""
        minutes, seconds = divmod(max(round(self.left), 1), 60)
        span = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
        return f"waiting {span} for {self.reason}"

    def __str__(self) -> str:
        """The wait for people: `store edge: waiting 3 min 34 s for the rate limit`."""
        return f"{self.place}{': ' if self.place else ''}{self.words}"


def reason_after(retry_after: float | None) -> str:
    """The reason to wait after an error. `retry_after` is the pause in seconds that the server requested, None without one."""
    return "the next attempt" if retry_after is None else "the pause that the server asks for (Retry-After)"


class CurrentWaits:
    """The waits of this process that have not ended. Other threads may read them."""

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
    """Set the place of all waits inside the block, unless an outer block has set one."""
    token = _place.set(_place.get() or place)
    try:
        yield
    finally:
        _place.reset(token)
