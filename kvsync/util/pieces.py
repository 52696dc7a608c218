"""Pieces of a large collection, for work that others wait for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")


def pieces(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """The items in lists of `size`, the last one perhaps shorter; nothing where there are none."""
    left = iter(items)
    while piece := list(islice(left, size)):
        yield piece
