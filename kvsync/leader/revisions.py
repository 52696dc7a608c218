"""Form in which the revisions that leaders applied are kept next to a lease."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple
from typing import Final

from kvsync.model.revision import AppliedRevision

KEPT: Final = 100
"""How many revisions are kept; with the longest names some 30 KB, which is less than an annotation may have."""


def encoded_revisions(revisions: Sequence[AppliedRevision]) -> str:
    """The newest of these revisions, as text."""
    return json.dumps([astuple(one) for one in revisions[-KEPT:]], separators=(",", ":"))


def decoded_revisions(text: str) -> tuple[AppliedRevision, ...]:
    """The revisions in a text. Raises ValueError or TypeError for any other text."""
    return tuple(AppliedRevision(*row) for row in json.loads(text))
