"""Decides whether other replicas have applied a newer revision of the files. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from kvsync.model.revision import AppliedRevision


def newer_revision(
    mine: str, base: AppliedRevision | None, seen: Collection[str], history: Sequence[AppliedRevision]
) -> AppliedRevision | None:
    """What was applied after the files of this replica, None when these may be applied.

    `history` is what all replicas applied, oldest first; `base` its end when `mine` was found to be in order, None before;
    `seen` are the revisions that the files of this machine had. Files that go back to an earlier revision where the newest one
    was known were put back on purpose.
    """
    if not history or history[-1].revision == mine or history[-1] == base:
        return None
    if base is not None:
        return history[-1]
    is_older = any(one.revision == mine for one in history) and history[-1].revision not in seen
    return history[-1] if is_older else None
