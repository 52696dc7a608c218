"""Splits large collections, so that work on them can be interrupted in between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")


def pieces(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Yield the items in lists of `size`; the last list can be shorter."""
    left = iter(items)
    while piece := list(islice(left, size)):
        yield piece
