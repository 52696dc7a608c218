"""Decides whether other replicas have applied a newer revision of the files. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from kvsync.model.revision import AppliedRevision, same_files


def newer_revision(
    mine: str, base: Sequence[AppliedRevision], seen: Collection[str], history: Sequence[AppliedRevision]
) -> AppliedRevision | None:
    """What was applied after the files of this replica, None when these may be applied.

    `history` is what all replicas applied, oldest first; `base` is what it was when `mine` was found to be in order, empty
    before; `seen` are the revisions that the files of this machine had. Files that go back to an earlier revision where the
    newest one was known were put back on purpose. A later commit that left the files as they are holds nobody back. A history
    that ends earlier than `base` has lost its end, in a failover of the lease backend, for example: nothing was applied since.
    """
    if not history or same_files(history[-1].revision, mine) or history[-1] in base:
        return None
    if base:
        return history[-1]
    is_older = any(one.revision == mine for one in history) and history[-1].revision not in seen
    return history[-1] if is_older else None


def is_recorded(mine: str, history: Sequence[AppliedRevision]) -> bool:
    """True if this revision need not be recorded again: it was, and the newest one has the same files."""
    return same_files(history[-1].revision, mine) and mine in {one.revision for one in history} if history else False
