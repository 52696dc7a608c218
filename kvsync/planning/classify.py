"""Three-way classification of a differing entry, and the action that the policy chooses for it.

    desired   actual            last applied        class                     what
    ───────   ───────────────   ─────────────────   ───────────────────────   ─────────────────────────────
    yes       -                 never, or we ended  new                       create
    yes       -                 equal to desired    missing                   create, as policy.drift says
    yes       -                 its TTL ran out     expiring                  create (renewal came too late)
    yes       -                 other               conflict                  create, as policy.drift says
    ended     any               any                 expired                   nothing; delete what is left of it
    yes       ours, equal       any                 unchanged / expiring      nothing / renew
    yes       ours, as applied  other than desired  changed                   update
    yes       ours, moved       equal to desired    drifted                   update, as policy.drift says
    yes       ours, moved       other than both     conflict                  update, as policy.drift says
    yes       mark lost         any                 drifted                   adopt or update, as policy.drift says
    yes       no owner          not known           unowned                   as policy.adopt says
    yes       another owner     any                 taken                     refused, adopt if `from_owner`
    -         ours, as applied  any                 removed                   delete, as policy.prune says
    -         ours, moved       any                 conflict                  delete, as both policies say
    -         not proven ours   known               unowned                   refused
    -         not ours          not known           foreign                   nothing, unless prune: scope

"As applied" means: its version is the one the ledger last saw in agreement, or its content is what the ledger says, or,
where the ledger does not know the entry, what its mark says. Whose an entry is, and what that allows, is decided in
`ownership`. An entry that is locked, or protected, is refused instead of changed.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from enum import StrEnum

from kvsync.errors import Origin
from kvsync.model.canonical import canonical_json_text
from kvsync.model.entry import Action, Actual, Applied, Change, Class, Entry, Identity, Mark, Mode, Refusal, Target
from kvsync.model.policy import Adopt, Prune
from kvsync.planning.marks import MarkSigner, Proof
from kvsync.planning.ownership import Claim, claim_of, must_be_renewed

CLOCK_SLACK = 60
"""Seconds by which a lifetime may be longer than declared before it counts as someone's change."""


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


def classify(entry: Entry, actual: Actual | None, last: Applied | None, rules: Rules) -> Verdict:
    """Judge one desired entry. `actual` must carry a fingerprint."""
    if _has_ended(entry, actual, rules.now):
        return _ended(entry, actual, last, rules)
    if actual is None:
        return _absent(entry, last, rules)
    match claim_of(actual, last, rules.signer, rules.now), actual.mark:
        case Claim.TAKEN, Mark() as mark if mark.owner == rules.from_owner:
            return _transferred(entry, actual, mark, rules)
        case Claim.TAKEN, Mark() as mark:
            return _taken(entry, actual, mark.owner)
        case ((Claim.OWNED | Claim.RECORDED), Mark() as mark):
            return _owned(entry, actual, mark, last, rules)
        case Claim.LOST, _:
            return _lost(entry, actual, last, rules)
        case claim, _:
            return _unowned(entry, actual, claim, last, rules)


def classify_undesired(actual: Actual, last: Applied | None, removal: Removal | None, rules: Rules) -> Verdict:
    """Judge one entry of the store that the files do not ask for."""
    claim = claim_of(actual, last, rules.signer, rules.now)
    if claim is Claim.OWNED and actual.mark is not None:
        return _removed(actual, actual.mark, last, removal, rules)
    if removal is None and rules.prune is Prune.SCOPE and claim in _IN_SCOPE:
        return _permitted(Change(Action.DELETE, Class.FOREIGN, actual.identity, before=actual), rules)
    if claim not in _UNPROVEN:
        return _not_ours(actual, removal, rules)
    if removal is None and rules.prune is Prune.OFF:
        return Idle.FOREIGN if claim is Claim.LOST else Idle.UNCHANGED
    origin = removal.origin if removal is not None else None
    return Refusal(actual.identity, Class.UNOWNED, Action.DELETE, _why_unproven(claim, actual, last), origin)


_IN_SCOPE = frozenset({Claim.NOBODY, Claim.COPIED, Claim.LOST})
"""What `prune: scope` deletes although it is not proven to be ours."""

_HOW_TO_GO_ON = "delete it in the store, or add its key to policy.ignore"

_UNPROVEN = {
    Claim.LOST: "its ownership mark was removed, so kvsync cannot prove that it wrote it",
    Claim.RECORDED: "its content is not what kvsync wrote, so it may belong to another writer",
    Claim.WEAK: "its mark was made by an earlier version of kvsync, and it is not in the ledger",
}
_OTHER_CONTENT = "its mark was made by an earlier version of kvsync, and its content is not what kvsync wrote"
_NOT_VERIFIED = "its mark is not valid: it was made for another place or key, or with another owner key"
_NOT_COMPARABLE = (
    "another machine wrote its sensitive value, so this machine cannot verify that it is unchanged; set owner_key on all"
    " machines, or"
)


def _why_unproven(claim: Claim, actual: Actual, last: Applied | None) -> str:
    if claim is Claim.RECORDED and last is not None and not last.mark.is_comparable:
        return f"{_NOT_COMPARABLE} {_HOW_TO_GO_ON}"
    why = _UNPROVEN[claim]
    if claim is Claim.LOST and actual.mark is not None:
        why = _OTHER_CONTENT if actual.mark.seal is None else _NOT_VERIFIED
    return f"{why}; {_HOW_TO_GO_ON}"


def _removed(actual: Actual, mark: Mark, last: Applied | None, removal: Removal | None, rules: Rules) -> Verdict:
    if removal is None and rules.prune is Prune.OFF:
        return Idle.ORPHAN
    cause = Class.REMOVED if _is_as_applied(actual, mark, last) else Class.CONFLICT
    removal = removal or Removal()
    change = Change(
        Action.DELETE,
        cause,
        actual.identity,
        before=actual,
        origin=removal.origin,
        moved_to=removal.moved_to,
        moved_to_target=removal.moved_to_target,
    )
    return _permitted(change, rules)


def _has_ended(entry: Entry, actual: Actual | None, now: float) -> bool:
    """True when the declared end has come: the moment itself, or the end of a TTL that is not to be renewed."""
    if entry.expires_at is not None:
        return entry.expires_at <= now
    if entry.ttl is None or entry.renewal_margin() > 0 or actual is None:
        return False
    return actual.expires_at is not None and actual.expires_at <= now


def _ended(entry: Entry, actual: Actual | None, last: Applied | None, rules: Rules) -> Verdict:
    if actual is None or entry.mode is not Mode.ENFORCE:
        return Idle.EXPIRED
    claim = claim_of(actual, last, rules.signer, rules.now)
    if claim in _UNPROVEN:
        return Refusal(entry.identity, Class.UNOWNED, Action.DELETE, _why_unproven(claim, actual, last), entry.origin)
    if claim is not Claim.OWNED:
        return Idle.EXPIRED
    change = Change(Action.DELETE, Class.EXPIRED, entry.identity, ("expires_at",), before=actual, origin=entry.origin)
    return _permitted(change, rules)


def _absent(entry: Entry, last: Applied | None, rules: Rules) -> Verdict:
    if last is None or last.unseen_since is not None:
        cause = Class.NEW
    elif last.has_ended or (last.expires_at is not None and last.expires_at <= rules.now):
        if entry.mode is Mode.CREATE_ONLY or _was_to_end(entry, last):
            return Idle.EXPIRED
        cause = Class.EXPIRING if entry.renewal_margin() > 0 and not last.has_ended else Class.NEW
    else:
        cause = Class.MISSING if last.matches(entry.fingerprint) else Class.CONFLICT
    return Change(Action.CREATE, cause, entry.identity, after=entry, origin=entry.origin)


def _was_to_end(entry: Entry, last: Applied) -> bool:
    """True when the entry that ended is the one that the files still ask for, and they ask for no renewal."""
    is_mortal = entry.ttl is not None and entry.renewal_margin() == 0
    return is_mortal and entry.ttl == last.mark.ttl and last.matches(entry.fingerprint)


def _lost(entry: Entry, actual: Actual, last: Applied | None, rules: Rules) -> Verdict:
    """An entry that we wrote, found without our mark: whoever writes these stores usually replaces the mark with the value."""
    if entry.mode is not Mode.ENFORCE:
        return _looked_at(entry, actual)
    reasons = _differences(entry, actual)
    assert last is not None
    cause = Class.DRIFTED if not reasons or last.matches(entry.fingerprint) else Class.CONFLICT
    action = Action.UPDATE if reasons else Action.ADOPT
    reasons = (*reasons, "mark")
    if action is Action.ADOPT:
        reasons += _lifetime(entry, actual, Mark(rules.owner, entry.fingerprint, entry.ttl), last, rules)[1]
    change = Change(action, cause, entry.identity, reasons, before=actual, after=entry, origin=entry.origin)
    return _permitted(change, rules)


def _unowned(entry: Entry, actual: Actual, claim: Claim, last: Applied | None, rules: Rules) -> Verdict:
    if entry.mode is not Mode.ENFORCE:
        return _looked_at(entry, actual)
    reasons = _differences(entry, actual)
    if not reasons and rules.adopt is not Adopt.NEVER:
        lifetime = _lifetime(entry, actual, Mark(rules.owner, entry.fingerprint, entry.ttl), last, rules)[1]
        reasons = ("mark", *lifetime)
        change = Change(
            Action.ADOPT, Class.UNOWNED, entry.identity, reasons, before=actual, after=entry, origin=entry.origin
        )
        return _permitted(change, rules)
    if rules.adopt is Adopt.ALWAYS:
        change = Change(
            Action.UPDATE, Class.UNOWNED, entry.identity, reasons, before=actual, after=entry, origin=entry.origin
        )
        return _permitted(change, rules)
    what = f"different {', '.join(reasons)}" if reasons else "equal content"
    return Refusal(
        entry.identity,
        Class.UNOWNED,
        Action.UPDATE if reasons else Action.ADOPT,
        f"{_origin_of(claim)} ({what}); policy.adopt is {rules.adopt}",
        entry.origin,
        reasons=reasons,
    )


def _origin_of(claim: Claim) -> str:
    if claim is Claim.COPIED:
        return "it exists with an ownership mark that was made for another place or key (a copy)"
    if claim is Claim.WEAK:
        return "it exists with a mark of an earlier version of kvsync, and it is not in the ledger"
    return "it exists, and kvsync did not write it"


def _taken(entry: Entry, actual: Actual, owner: str) -> Verdict:
    if entry.mode is not Mode.ENFORCE:
        return _looked_at(entry, actual)
    reasons = _differences(entry, actual)
    action, what = (Action.UPDATE, f"different {', '.join(reasons)}") if reasons else (Action.ADOPT, "equal content")
    why = f"it belongs to owner {owner!r} ({what}); to take it over, run kvsync transfer --from-owner {shlex.quote(owner)}"
    return Refusal(entry.identity, Class.TAKEN, action, why, entry.origin, reasons=reasons)


def _transferred(entry: Entry, actual: Actual, mark: Mark, rules: Rules) -> Verdict:
    """Give an entry of the owner that is taken over our mark, and leave its content: what differs is then a change."""
    if entry.mode is not Mode.ENFORCE:
        return _looked_at(entry, actual)
    former = replace(rules.signer, owner=mark.owner)
    if not mark.is_recorded and former.proof(actual.identity, mark) is Proof.NONE:
        reason = f"its mark of owner {mark.owner!r} was made for another place or key (a copy)"
        return Refusal(entry.identity, Class.TAKEN, Action.ADOPT, reason, entry.origin)
    reasons = _differences(entry, actual)
    if reasons and (actual.content is None or actual.fingerprint is None):
        reason = f"it belongs to owner {mark.owner!r}, and its content was not read"
        return Refusal(entry.identity, Class.TAKEN, Action.ADOPT, reason, entry.origin, reasons=reasons)
    kept = entry
    if reasons and actual.content is not None and actual.fingerprint is not None:
        kept = replace(entry, content=actual.content, fingerprint=actual.fingerprint)
    change = Change(
        Action.ADOPT, Class.TAKEN, entry.identity, ("mark",), before=actual, after=kept, origin=entry.origin
    )
    return _permitted(change, rules)


def _looked_at(entry: Entry, actual: Actual) -> Verdict:
    """An entry kvsync only creates is done once it exists; one it only observes is compared and never written."""
    reasons = _differences(entry, actual)
    if entry.mode is Mode.CREATE_ONLY or not reasons:
        return Idle.UNCHANGED
    return Change(
        Action.UPDATE, Class.DRIFTED, entry.identity, reasons, before=actual, after=entry, origin=entry.origin
    )


def _owned(entry: Entry, actual: Actual, mark: Mark, last: Applied | None, rules: Rules) -> Verdict:
    if entry.mode is not Mode.ENFORCE:
        return _looked_at(entry, actual)
    reasons = _differences(entry, actual)
    if reasons:
        cause = _cause(entry, actual, mark, last)
    else:
        cause, reasons = _lifetime(entry, actual, mark, last, rules)
    action = Action.UPDATE
    if cause is Class.EXPIRING:
        action = Action.RENEW
    elif not reasons:
        is_current = (mark.sensitive, mark.protected) == (entry.sensitive, entry.protected)
        if is_current and not must_be_renewed(actual, mark, rules.signer):
            return Idle.UNCHANGED
        action, cause, reasons = Action.ADOPT, Class.CHANGED, ("mark",)
    change = Change(action, cause, entry.identity, reasons, before=actual, after=entry, origin=entry.origin)
    return _permitted(change, rules)


def _not_ours(actual: Actual, removal: Removal | None, rules: Rules) -> Verdict:
    if removal is None:
        return Idle.FOREIGN
    if actual.mark is None or actual.mark.owner == rules.owner:
        reason, cause = "the files list it under absent, but kvsync did not write it", Class.UNOWNED
    else:
        reason, cause = f"the files list it under absent, but it belongs to owner {actual.mark.owner!r}", Class.TAKEN
    return Refusal(actual.identity, cause, Action.DELETE, reason, removal.origin)


def _permitted(change: Change, rules: Rules) -> Verdict:
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


def _is_as_applied(actual: Actual, mark: Mark, last: Applied | None) -> bool:
    """True when the entry is as we left it: by the ledger's version, or by what mark or ledger say of the content."""
    if last is not None and last.etag is not None and last.etag == actual.etag:
        return True
    return actual.fingerprint is not None and mark.matches(actual.fingerprint)


def _cause(entry: Entry, actual: Actual, mark: Mark, last: Applied | None) -> Class:
    """Why content that is ours differs. The ledger, not the mark alone, says what was applied last: a restored old revision
    comes with its mark."""
    if last is not None and not last.has_ended and last.matches(entry.fingerprint):
        return Class.DRIFTED
    if _is_as_applied(actual, mark, last):
        return Class.CHANGED
    return Class.DRIFTED if mark.matches(entry.fingerprint) else Class.CONFLICT


def _differences(entry: Entry, actual: Actual) -> tuple[str, ...]:
    """The names of the parts of the content that differ, none when it is the same."""
    if actual.fingerprint == entry.fingerprint:
        return ()
    if actual.content is None:
        return ("value",)
    names = [
        name
        for name in ("content_type", "tags", "metadata")
        if getattr(entry.content, name) != getattr(actual.content, name)
    ]
    if not _same_value(entry, actual.content.value):
        names.insert(0, "value")
    return tuple(names)


def _same_value(entry: Entry, value: bytes) -> bool:
    return value == entry.content.value or (entry.json and canonical_json_text(value) == entry.content.value)


def _lifetime(
    entry: Entry, actual: Actual, mark: Mark, last: Applied | None, rules: Rules
) -> tuple[Class, tuple[str, ...]]:
    """Judge the lifetime of an entry whose content is as desired: (class, reasons), with no reasons when it is fine."""
    now = rules.now
    if entry.expires_at is not None:
        return _moment(entry.expires_at, actual, last, rules)
    if entry.ttl != mark.ttl:
        return Class.CHANGED, ("ttl",)
    if entry.ttl is None:
        return (Class.DRIFTED, ("ttl",)) if actual.expires_at is not None else (Class.CHANGED, ())
    if actual.expires_at is None or actual.expires_at - now > entry.ttl + CLOCK_SLACK:
        return Class.DRIFTED, ("ttl",)
    margin = entry.renewal_margin()
    if margin > 0 and now >= actual.expires_at - margin:  # as `moments` reckons: its very moment must not be missed
        return Class.EXPIRING, ("ttl",)
    return Class.CHANGED, ()


def _moment(expires_at: float, actual: Actual, last: Applied | None, rules: Rules) -> tuple[Class, tuple[str, ...]]:
    """Judge a declared end. One that is further away than the store keeps anything is come up to by renewals."""
    if _same_moment(actual.expires_at, expires_at):
        return Class.CHANGED, ()
    moved_by_others = last is not None and _same_moment(last.expires_at, expires_at)
    end = actual.expires_at
    if rules.longest is not None and end is not None and end < expires_at and not moved_by_others:
        is_due = rules.now >= min(expires_at - rules.longest, end - rules.longest / 3)
        return (Class.EXPIRING, ("expires_at",)) if is_due else (Class.CHANGED, ())
    return (Class.DRIFTED if moved_by_others else Class.CHANGED), ("expires_at",)


def _same_moment(left: float | None, right: float | None) -> bool:
    if left is None or right is None:
        return left is right
    return abs(left - right) <= 1
