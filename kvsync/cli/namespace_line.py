"""Line about a namespace that a run deleted, for `history` and `show`."""

from __future__ import annotations

from typing import Any

from kvsync.model.change import OutcomeKind
from kvsync.model.entry import Target
from kvsync.util.escaping import escape_text

_WORDS = {
    OutcomeKind.APPLIED: "namespace deleted",
    OutcomeKind.UNKNOWN: "namespace: outcome unknown",
    None: "namespace: outcome unknown, the run was interrupted",
}


def namespace_line(namespace: dict[str, Any]) -> str:
    """What became of a namespace, where it was, and why it stays."""
    from kvsync.rendering.words import outcome_word

    target = Target(namespace["store"], namespace["namespace"])
    words = _WORDS.get(namespace["outcome"], f"namespace not deleted ({outcome_word(namespace['outcome'])})")
    error = f": {namespace['error']}" if namespace["error"] else ""
    return escape_text(f"{target}: {words} at {namespace['at']}{error}; it was {namespace['place']}") + "\n"
