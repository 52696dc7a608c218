"""Result of a fetch."""

from __future__ import annotations

from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class CommitRefused:
    """A newest commit that is not used, why, and what to do about it. The last good one stays."""

    commit: str
    reason: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"commit {self.commit[:12]} was rejected: {self.reason}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of a fetch: the commit in force now (None when there is none that may be used), the one before in this
    process, and the newest one if it was refused. `seconds` is how long it took."""

    commit: str | None
    before: str | None
    refused: CommitRefused | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a source across processes. Moments are epoch seconds; `fetched_at` is that of the last fetch that
    succeeded, `error` says why the last one did not, `refused` why the newest commit is not used."""

    url: str
    ref: str
    commit: str | None = None
    fetched_at: float | None = None
    attempted_at: float | None = None
    error: str | None = None
    refused: str | None = None
