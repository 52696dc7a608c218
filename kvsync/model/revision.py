"""Revisions of the state files that replicas applied."""

from __future__ import annotations

from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class AppliedRevision:
    """A revision of the files that a replica began to apply: its digest, the commit if it is of one, when (epoch seconds), and
    which replica."""

    revision: str
    commit: str | None
    at: float
    by: str


def same_files(revision: str, other: str) -> bool:
    """True if the files of two revisions are the same, whatever else their commits changed."""
    return revision.rpartition(":")[2] == other.rpartition(":")[2]
