"""How the values that travel are written into rows, and read back.

Enum members and booleans are written as plain text and numbers: SQLite's driver takes a slow path for anything else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kvsync.core.canonical import canonical_json
from kvsync.core.model import Identity, Target

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


def entry_row(target: Target, identity: Identity) -> tuple[str, str, str, str]:
    """The columns (store, namespace, key, label)."""
    return target.store, target.namespace, identity.key, label_text(identity.label)


def counts_text(counts: Mapping[str, int]) -> str:
    """Counts by name, as text."""
    return canonical_json(dict(counts))


def counts_of(text: str) -> dict[str, int]:
    """The counts that `counts_text` wrote."""
    counts: dict[str, Any] = json.loads(text)
    return counts
