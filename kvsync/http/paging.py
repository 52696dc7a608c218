"""Bounds on listings that a server gives in pages."""

from __future__ import annotations

from typing import Final

from kvsync.errors import TransientError
from kvsync.model.answer_limits import AnswerLimits
from kvsync.util.clock import Clock

MOST_EMPTY_PAGES: Final = 100
"""Empty pages in a row. Services return some where entries have expired or been deleted."""

MOST_NAMESPACE_PAGES: Final = 100
"""Pages of a list of namespaces: 100,000 namespaces and more."""


class ListingLimit:
    """Ends a listing whose server never does: one that is longer, larger or slower than `limits` allow, or whose pages are
    empty. `what` names the listing in the error."""

    def __init__(self, what: str, limits: AnswerLimits, clock: Clock) -> None:
        self._what, self._limits, self._clock = what, limits, clock
        self._began = clock.monotonic()
        self._pages = self._entries = self._bytes = self._empty = 0

    def count(self, entries: int, size: int, *, is_last: bool = False, is_known: bool = False) -> None:
        """Count a page with so many entries, of `size` bytes. `is_known` says that it is one that did not change, whose entries
        are not counted. Raises TransientError when it is one too many."""
        self._pages += 1
        self._entries += entries
        self._bytes += size
        self._empty = 0 if entries or is_last or is_known else self._empty + 1
        if self._empty >= MOST_EMPTY_PAGES:
            raise TransientError(f"{self._what} failed: the server returned {self._empty} empty pages in a row")
        limits, seconds = self._limits, self._clock.monotonic() - self._began
        for name, found, most in (
            ("listing_pages", self._pages + (not is_last), limits.listing_pages),
            ("listing_entries", self._entries, limits.listing_entries),
            ("listing_bytes", self._bytes, limits.listing_bytes),
            ("listing_time", seconds, limits.listing_time),
        ):
            if found > most:
                raise TransientError(self._exceeded(name, most))

    def _exceeded(self, name: str, most: float) -> str:
        reached = f"after {self._pages:,} pages with {self._entries:,} entries and {self._bytes:,} bytes"
        return f"{self._what} was ended {reached}: limits.{name} is {most:,}; raise it in kvsync.yaml, or check the endpoint"
