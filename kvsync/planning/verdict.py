"""Results of classifying an entry, the rules that decide, and the refusal of changes to locked and protected entries."""

from __future__ import annotations

from enum import StrEnum

from kvsync.errors import ErrorCode, Origin
from kvsync.model.change import Action, Change, Class, Refusal
from kvsync.model.entry import Identity, Target
from kvsync.model.policy import Adopt, Prune
from kvsync.planning.marks import MarkSigner
from kvsync.util.values import dataclass


class Idle(StrEnum):
    """Why there is nothing to do for an entry."""

    UNCHANGED = "unchanged"
    FOREIGN = "foreign"
    EXPIRED = "expired"
    GONE = "gone"
    ORPHAN = "orphan"


Verdict = Change | Refusal | Idle


@dataclass(frozen=True, slots=True)
class Rules:
    """What a verdict depends on besides the entry itself.

    `signer` verifies marks. `now` is in seconds since the epoch. `longest` is the number of seconds after which the store ends
    every entry, None if entries may stay. Desired entries of `from_owner` are taken over as they are. With `releases`,
    ownership of all our entries is given up. Plans are hashed with `digest_key`. The store accepts no lifetime of less than
    `shortest` seconds.
    With `insists`, because a person asked to adopt, an equal entry that is locked is refused instead of left as it is.
    """

    signer: MarkSigner
    now: float
    digest_key: bytes
    prune: Prune = Prune.OWNED
    adopt: Adopt = Adopt.IF_EQUAL
    allow_protected: bool = False
    longest: float | None = None
    from_owner: str | None = None
    releases: bool = False
    shortest: float = 0
    insists: bool = False

    @property
    def owner(self) -> str:
        """The owner that marks are written for."""
        return self.signer.owner


@dataclass(frozen=True, slots=True)
class Removal:
    """Why an undesired key must be deleted even with `prune: off`, or where it was moved."""

    origin: Origin | None = None
    moved_to: Identity | None = None
    moved_to_target: Target | None = None


def permitted(change: Change, rules: Rules) -> Verdict:
    """The change itself, or a refusal if the entry is locked or protected."""
    before = change.before
    if before is not None and before.locked:
        reason = f"it is locked in the store{_what_differs(change)}; unlock it there"
        return Refusal(change.identity, Class.LOCKED, change.action, reason, change.origin, reasons=change.reasons)
    if ends_too_soon(change.after.expires_at if change.after is not None else None, rules):
        return Refusal(
            change.identity,
            change.cause,
            change.action,
            too_soon(rules),
            change.origin,
            reasons=change.reasons,
            detail=ErrorCode.EXPIRES_TOO_SOON,
        )
    harmless = change.action in (Action.RENEW, Action.ADOPT) or change.cause is Class.EXPIRED
    if harmless or rules.allow_protected or not _is_protected(change):
        return change
    reason = f"it is protected{_what_differs(change)}; use --allow-protected to overwrite or delete it"
    return Refusal(change.identity, Class.PROTECTED, change.action, reason, change.origin, reasons=change.reasons)


def ends_too_soon(expires_at: float | None, rules: Rules) -> bool:
    """True for an end so near that the store would refuse to write an entry with it."""
    return expires_at is not None and expires_at - rules.now < rules.shortest


def too_soon(rules: Rules) -> str:
    """Why an entry is not written shortly before its end."""
    return f"it expires in less than {rules.shortest:.0f} s, and the store accepts no shorter lifetime; it is left to expire"


def _what_differs(change: Change) -> str:
    return f" (different {', '.join(change.reasons)})" if change.reasons and change.action is not Action.ADOPT else ""


def _is_protected(change: Change) -> bool:
    marked = change.before is not None and change.before.mark is not None and change.before.mark.protected
    return marked or (change.after is not None and change.after.protected)
