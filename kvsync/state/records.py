"""Journal records, as written before and after a batch and as read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from kvsync.model.change import Action, Class, Outcome, OutcomeKind
from kvsync.model.entry import Actual, Applied, Identity, Target, sealed
from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class Intent:
    """One change about to be sent. `before` is the entry as it was seen, with its content wherever that may be kept; `after` is
    the fingerprint of what must be written, None for a delete. Of a sensitive change no value is kept."""

    identity: Identity
    action: Action
    cause: Class
    before: Actual | None = None
    after: bytes | None = None
    sensitive: bool = False
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """Outcome of one intent. `applied` is written to the ledger, `gone` removes the entry from it; without either, the
    ledger stays as it is."""

    outcome: Outcome
    applied: Applied | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class NamespaceRecord:
    """A namespace that a run was to delete, with its place as text, and what became of it (None: the run was killed first).
    `at` is when that was known, or when the delete was intended."""

    target: Target
    place: str
    at: float
    outcome: OutcomeKind | None = None
    error: str | None = None


class RunStatus(StrEnum):
    """Where a run stands. One that was killed is `interrupted` once the next writer has noticed, and so is one that ended
    without knowing what became of a change."""

    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. `changes` is how many changes it intended; `summary` holds counts by name, as the run gave them at its end.
    `environment` is the one that was in force, `triggers` are why the daemon made the pass."""

    id: str
    command: str
    source: str | None
    started_at: float
    finished_at: float | None
    status: RunStatus
    changes: int
    summary: Mapping[str, int] = field(default_factory=dict)
    environment: str | None = None
    triggers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunCause:
    """Why a run is begun: the command, what is applied (a commit, a plan file, a run undone), the environment in force, and the
    triggers of the daemon's pass."""

    command: str
    source: str | None = None
    environment: str | None = None
    triggers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangeRecord:
    """One change of a run: what was there before, what was intended, what became of it (None: the run was killed first).

    `before` has no content when it is `withheld`, and none when there was nothing to keep. `after` is the fingerprint of
    what was to be written, sealed when the change is sensitive: ask `matches`. `place` is the key of the place that was
    written to, or represents the target's name where an earlier version recorded it.
    """

    run: str
    target: Target
    identity: Identity
    action: Action
    cause: Class
    before: Actual | None
    after: bytes | None
    withheld: bool
    origin: str | None
    intended_at: float
    outcome: OutcomeKind | None = None
    error: str | None = None
    etag: str | None = None
    settled_at: float | None = None
    key: bytes | None = field(default=None, repr=False)
    place: str = ""

    def matches(self, fingerprint: bytes) -> bool:
        """True when the content with this fingerprint is what the change was to write."""
        return self.after == (fingerprint if self.key is None else sealed(fingerprint, self.key))
