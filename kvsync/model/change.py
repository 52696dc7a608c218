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
    """One planned change of one entry: action, reasons, the entry before and after, and the version that the write needs.

    `reasons` name what differs: value, content_type, tags, metadata, description, ttl, expires_at, mark. A delete that is
    half of a move carries `moved_to`, the identity that must be verified to be there first: in `moved_to_target`, where that
    is another target.
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
        """What a moved entry is called afterwards, for people; empty for one that is not moved."""
        if self.moved_to is None:
            return ""
        return f"{self.moved_to}" if self.moved_to_target is None else f"{self.moved_to_target}: {self.moved_to}"

    @property
    def sensitive(self) -> bool:
        """True when neither side's value may be shown or kept."""
        marked = self.before is not None and self.before.mark is not None and self.before.mark.sensitive
        return marked or (self.after is not None and self.after.sensitive)

    @property
    def written_after(self) -> tuple[str, ...]:
        """The keys that must be written before; a renewal, which changes nothing that is read, waits for none."""
        return self.after.after if self.after is not None and self.action is not Action.RENEW else ()

    @property
    def is_last(self) -> bool:
        """True when it is written after everything else of its target."""
        return self.after is not None and self.after.after_all and self.action is not Action.RENEW


@dataclass(frozen=True, slots=True)
class Refusal:
    """A difference that kvsync will not act on, and why. `action` is what it would have done, `reasons` name what differs, as
    those of a `Change`; `deferred` is
    the change that kvsync tries later, because the entry is quarantined or contended, or waits for another entry. `detail` is a
    code that is more precise than that of the cause."""

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
        """The code of the rule that refuses."""
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
    """Outcome of one change. `unknown`: the change was sent, and may or may not have been written."""

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
    """Outcome of one change; `etag` is the version that our write made. `detail` is a code that is more precise than that
    of the kind."""

    identity: Identity
    action: Action
    kind: OutcomeKind
    error: str | None = None
    etag: str | None = None
    detail: ErrorCode | None = None

    @property
    def code(self) -> ErrorCode | None:
        """Why the change is not done; None if it is, or was not tried."""
        return self.detail or _UNDONE.get(self.kind)


_UNDONE: Final = {
    OutcomeKind.CONFLICT: ErrorCode.CONFLICT,
    OutcomeKind.STALE: ErrorCode.STALE,
    OutcomeKind.REFUSED: ErrorCode.CHANGE_REFUSED,
    OutcomeKind.FAILED: ErrorCode.CHANGE_FAILED,
    OutcomeKind.UNKNOWN: ErrorCode.OUTCOME_UNKNOWN,
}
