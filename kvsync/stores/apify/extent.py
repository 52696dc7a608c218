"""How much a key-value store holds, which decides whether a view of all of it is cheaper than reading some records."""

from __future__ import annotations

from typing import Final, NamedTuple

_PAGE: Final = 1000
_RATIO: Final = 10
"""Reads that one request of a scan must save, and records of others for each of ours in a ZIP."""

_MOST_BYTES: Final = 256 * 1024 * 1024
"""Bytes of values in a ZIP that is fetched for a scan."""


class Extent(NamedTuple):
    """Number of records and bytes of their values, as they were seen last."""

    records: int
    size: int

    def is_worth_scanning(self, absent: int, present: int) -> bool:
        """True if a listing for the `absent` records and a ZIP for the `present` ones save nearly all reads."""
        pages = self.records // _PAGE + 1 if absent else 0
        archives = 1 if present else 0
        is_ours = not present or (self.size <= _MOST_BYTES and self.records <= _RATIO * present)
        return is_ours and _RATIO * (pages + archives) <= absent + present
