"""Descriptions of listed entries, so that a write that must keep one does not have to read it first."""

from __future__ import annotations

from collections.abc import Iterable

from kvsync.stores.azure_appconfig.api import Slot
from kvsync.stores.azure_appconfig.items import Row


class Descriptions:
    """The descriptions that this process has seen, with the version of the entry. Only entries that have one take memory."""

    def __init__(self) -> None:
        self._known: dict[Slot, tuple[str, str]] = {}
        self._listed: set[str] = set()

    def update(self, rows: Iterable[Row], prefix: str | None = None) -> None:
        """Take in rows that were read; with `prefix`, these are all entries whose key begins with it."""
        for row in rows:
            self.note((row.key, row.label), row.etag, row.description)
        if prefix is not None:
            self._listed.add(prefix)

    def note(self, slot: Slot, etag: str | None, description: str | None) -> None:
        """Take in the description of one entry, None if it has none or is deleted."""
        if description and etag is not None:
            self._known[slot] = etag, description
        elif self._known:
            self._known.pop(slot, None)

    def of(self, prefix: str, slot: Slot, etag: str | None) -> str | None:
        """The description of the entry at this version, empty if it has none; None if that is not known."""
        known = self._known.get(slot)
        if known is not None:
            return known[1] if known[0] == etag else None
        return "" if prefix in self._listed else None
