"""Changes, refusals and outcomes: what a plan does to entries, and the result of each change. A `repr` never shows a value."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from kvsync.errors import ErrorCode, Origin
from kvsync.model.entry import Actual, Entry, Identity, Target
from kvsync.util.values import dataclass


class Action(StrEnum):
    """What a change does to the store."""

    CREATE = "create"
    UPDATE = "update"
    RENEW = "renew"
    ADOPT = "adopt"
    RELEASE = "release"
    DELETE = "delete"


class Class(StrEnum):
    """Class of an entry in the three-way comparison of desired, actual and last applied."""

    NEW = "new"
    CHANGED = "changed"
    REMOVED = "removed"
    DRIFTED = "drifted"
    MISSING = "missing"
    CONFLICT = "conflict"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    FOREIGN = "foreign"
    UNOWNED = "unowned"
    TAKEN = "taken"
    PROTECTED = "protected"
    LOCKED = "locked"


DRIFT_CLASSES = frozenset({Class.DRIFTED, Class.MISSING, Class.CONFLICT})


@dataclass(frozen=True, slots=True)
class Change:
    """One planned change of one entry: the action, the reasons, the entry before and after, and the version that the write
    requires.

    `reasons` name what differs: value, content_type, tags, metadata, description, ttl, expires_at, mark. For a delete that is
    half of a move, `moved_to` is the identity that must be verified to exist first, and `moved_to_target` is its target if that
    is another one.
    """

    action: Action
    cause: Class
    identity: Identity
    reasons: tuple[str, ...] = ()
    before: Actual | None = None
    after: Entry | None = None
    origin: Origin | None = None
    moved_to: Identity | None = None
    moved_to_target: Target | None = None

    @property
    def new_name(self) -> str:
        """The name of a moved entry after the move, for display; empty if the entry is not moved."""
        if self.moved_to is None:
            return ""
        return f"{self.moved_to}" if self.moved_to_target is None else f"{self.moved_to_target}: {self.moved_to}"

    @property
    def sensitive(self) -> bool:
        """True if neither the old nor the new value may be shown or stored."""
        marked = self.before is not None and self.before.mark is not None and self.before.mark.sensitive
        return marked or (self.after is not None and self.after.sensitive)

    @property
    def written_after(self) -> tuple[str, ...]:
        """The keys that must be written first. A renewal waits for none, because it changes nothing that programs read."""
        return self.after.after if self.after is not None and self.action is not Action.RENEW else ()

    @property
    def is_last(self) -> bool:
        """True if the entry is written after everything else in its target."""
        return self.after is not None and self.after.after_all and self.action is not Action.RENEW


@dataclass(frozen=True, slots=True)
class Refusal:
    """A difference that kvsync does not act on, and why. `action` is the action that kvsync does not take, and `reasons` name
    what differs, as in a `Change`. `deferred` is the change that kvsync tries later, because the entry is quarantined or
    contended, or waits for another entry. `detail` is a more precise code than that of the cause."""

    identity: Identity
    cause: Class
    action: Action
    reason: str
    origin: Origin | None = None
    deferred: Change | None = None
    reasons: tuple[str, ...] = ()
    detail: ErrorCode | None = None

    @property
    def code(self) -> ErrorCode:
        """The code of the rule that refuses the change."""
        if self.detail is not None:
            return self.detail
        return ErrorCode.DEFERRED if self.deferred is not None else _RULES.get(self.cause, ErrorCode.CHANGE_REFUSED)


_RULES: Final = {
    Class.UNOWNED: ErrorCode.UNOWNED,
    Class.TAKEN: ErrorCode.OTHER_OWNER,
    Class.PROTECTED: ErrorCode.PROTECTED,
    Class.LOCKED: ErrorCode.LOCKED,
}


class OutcomeKind(StrEnum):
    """Outcome of one change. `unknown` means that the change was sent, but it is not known whether it was written."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    CONFLICT = "conflict"
    STALE = "stale"
    REFUSED = "refused"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    NOT_ATTEMPTED = "not-attempted"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one change. `etag` is the version that kvsync's write created. `detail` is a more precise code than that of
    the kind."""

    identity: Identity
    action: Action
    kind: OutcomeKind
    error: str | None = None
    etag: str | None = None
    detail: ErrorCode | None = None

    @property
    def code(self) -> ErrorCode | None:
        """The code of the error or refusal; None if the outcome is neither."""
        return self.detail or _UNDONE.get(self.kind)


_UNDONE: Final = {
    OutcomeKind.CONFLICT: ErrorCode.CONFLICT,
    OutcomeKind.STALE: ErrorCode.STALE,
    OutcomeKind.REFUSED: ErrorCode.CHANGE_REFUSED,
    OutcomeKind.FAILED: ErrorCode.CHANGE_FAILED,
    OutcomeKind.UNKNOWN: ErrorCode.OUTCOME_UNKNOWN,
}
