"""Bounds on listings that a server gives in pages."""

from __future__ import annotations

from typing import Final

from kvsync.errors import TransientError

MOST_EMPTY_PAGES: Final = 100
"""Empty pages in a row. Services return some where entries have expired or been deleted."""

MOST_NAMESPACE_PAGES: Final = 100
"""Pages of a list of namespaces: 100,000 namespaces and more."""


class EmptyPageLimit:
    """Ends a listing whose server keeps returning empty pages that are not the last. `what` names the listing in the error."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._empty = 0

    def count(self, has_entries: bool) -> None:
        """Count a page. Raises TransientError after too many empty ones in a row."""
        self._empty = 0 if has_entries else self._empty + 1
        if self._empty >= MOST_EMPTY_PAGES:
            raise TransientError(f"{self._what} failed: the server returned {self._empty} empty pages in a row")
