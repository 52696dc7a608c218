"""Conversion of model values to and from table rows.

Enum members and booleans are written as plain text and numbers: SQLite's driver takes a slow path for anything else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kvsync.model.canonical import sorted_json
from kvsync.model.entry import Identity, Target
from kvsync.model.place import LocatedTarget

_NOTHING = "{}"
"""No counts, as nearly every pass has them."""

SEQ_BITS = 32
"""How far the number of a run is shifted to make room for the numbers of its changes."""


def label_text(label: str | None) -> str:
    """A label as part of a primary key: the empty text is "no label", which an empty label is not."""
    return "" if label is None else "=" + label


def identity_of(key: str, label: str) -> Identity:
    """The identity of a row."""
    return Identity(key, label[1:] if label else None)


def target_row(target: Target) -> tuple[str, str]:
    """The columns (store, namespace)."""
    return target.store, target.namespace


def entry_row(place: str, identity: Identity) -> tuple[str, str, str]:
    """The columns (place, key, label)."""
    key, label = identity
    return place, key, "" if label is None else label_text(label)


def name_key(target: Target) -> str:
    """Key of a target whose place is not resolved, made of its name. It differs from all keys of resolved places, which are
    hexadecimal."""
    return f"name:{target.store}/{target.namespace}"


def state_key(located: LocatedTarget) -> str:
    """Key under which the state of a target is stored: its place, or its name while that is not resolved."""
    return located.place.key if located.place.is_resolved else name_key(located.target)


def counts_text(counts: Mapping[str, int]) -> str:
    """Encode counts by name as text."""
    return sorted_json(dict(counts)) if counts else _NOTHING


def counts_of(text: str) -> dict[str, int]:
    """Decode the text of `counts_text`. Raises ValueError for any other text."""
    counts: Any = {} if text == _NOTHING else json.loads(text)
    if not isinstance(counts, dict):
        raise ValueError("not counts by name")
    return counts
