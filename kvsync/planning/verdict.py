"""What classifying an entry can come to, what it depends on, and which changes locks and protection refuse."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kvsync.errors import Origin
from kvsync.model.change import Action, Change, Class, Refusal
from kvsync.model.entry import Identity, Target
from kvsync.model.policy import Adopt, Prune
from kvsync.planning.marks import MarkSigner


class Idle(StrEnum):
    """Why nothing is to be done with an entry."""

    UNCHANGED = "unchanged"
    FOREIGN = "foreign"
    EXPIRED = "expired"
    GONE = "gone"
    ORPHAN = "orphan"


Verdict = Change | Refusal | Idle


@dataclass(frozen=True, slots=True)
class Rules:
    """What a verdict depends on besides the entry itself. `signer` tells which marks are ours. `now` is in seconds since
    the epoch, `longest` the seconds after which the store ends whatever it holds, None where entries may stay. `from_owner` is
    another owner whose desired entries are taken over, as they are. With `releases`, ownership of all that is ours is given
    up. `digest_key` is what plans are hashed with."""

    signer: MarkSigner
    now: float
    digest_key: bytes
    prune: Prune = Prune.OWNED
    adopt: Adopt = Adopt.IF_EQUAL
    allow_protected: bool = False
    longest: float | None = None
    from_owner: str | None = None
    releases: bool = False

    @property
    def owner(self) -> str:
        """The owner that marks are written for."""
        return self.signer.owner


@dataclass(frozen=True, slots=True)
class Removal:
    """Why an undesired key must go even with `prune: off`, or where it went."""

    origin: Origin | None = None
    moved_to: Identity | None = None
    moved_to_target: Target | None = None


def permitted(change: Change, rules: Rules) -> Verdict:
    """The change itself, or the refusal when the entry is locked or protected."""
    before = change.before
    if before is not None and before.locked:
        reason = f"it is locked in the store{_what_differs(change)}; unlock it there"
        return Refusal(change.identity, Class.LOCKED, change.action, reason, change.origin, reasons=change.reasons)
    harmless = change.action in (Action.RENEW, Action.ADOPT) or change.cause is Class.EXPIRED
    if harmless or rules.allow_protected or not _is_protected(change):
        return change
    reason = f"it is protected{_what_differs(change)}; use --allow-protected to overwrite or delete it"
    return Refusal(change.identity, Class.PROTECTED, change.action, reason, change.origin, reasons=change.reasons)


def _what_differs(change: Change) -> str:
    return f" (different {', '.join(change.reasons)})" if change.reasons and change.action is not Action.ADOPT else ""


def _is_protected(change: Change) -> bool:
    marked = change.before is not None and change.before.mark is not None and change.before.mark.protected
    return marked or (change.after is not None and change.after.protected)
