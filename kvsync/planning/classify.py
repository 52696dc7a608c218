"""Three-way classification of a desired entry that differs, and the action that the policy chooses for it.

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

Entries that the files do not ask for are classified in `undesired`.

"As applied" means: its version is the one the ledger last saw in agreement, or its content is what the ledger says, or,
where the ledger does not know the entry, what its mark says. Whose an entry is, and what that allows, is decided in
`ownership`. An entry that is locked, or protected, is refused instead of changed.
"""

from __future__ import annotations

import shlex
from dataclasses import replace

from kvsync.errors import ErrorCode
from kvsync.model.change import Action, Change, Class, Refusal
from kvsync.model.entry import Actual, Applied, Entry, Mark, Mode
from kvsync.model.policy import Adopt
from kvsync.planning.difference import differences, is_as_applied, lifetime, releases_description
from kvsync.planning.marks import Proof
from kvsync.planning.ownership import Claim, claim_of, must_be_renewed
from kvsync.planning.undesired import UNPROVEN, why_unproven
from kvsync.planning.verdict import Idle, Rules, Verdict, ends_too_soon, permitted, too_soon


def classify(entry: Entry, actual: Actual | None, last: Applied | None, rules: Rules) -> Verdict:
    """Classify one desired entry. `actual` must have a fingerprint."""
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


def _has_ended(entry: Entry, actual: Actual | None, now: float) -> bool:
    """True if the declared end has come: the moment itself, or the end of a TTL that is not renewed."""
    if entry.expires_at is not None:
        return entry.expires_at <= now
    if entry.ttl is None or entry.renewal_margin() > 0 or actual is None:
        return False
    return actual.expires_at is not None and actual.expires_at <= now


def _ended(entry: Entry, actual: Actual | None, last: Applied | None, rules: Rules) -> Verdict:
    if actual is None or entry.mode is not Mode.ENFORCE:
        return Idle.EXPIRED
    claim = claim_of(actual, last, rules.signer, rules.now)
    if claim in UNPROVEN:
        return Refusal(entry.identity, Class.UNOWNED, Action.DELETE, why_unproven(claim, actual, last), entry.origin)
    if claim is not Claim.OWNED:
        return Idle.EXPIRED
    change = Change(Action.DELETE, Class.EXPIRED, entry.identity, ("expires_at",), before=actual, origin=entry.origin)
    return permitted(change, rules)


def _absent(entry: Entry, last: Applied | None, rules: Rules) -> Verdict:
    if last is None or last.unseen_since is not None:
        cause = Class.NEW
    elif last.has_ended or (last.expires_at is not None and last.expires_at <= rules.now):
        if entry.mode is Mode.CREATE_ONLY or _was_to_end(entry, last):
            return Idle.EXPIRED
        cause = Class.EXPIRING if entry.renewal_margin() > 0 and not last.has_ended else Class.NEW
    else:
        cause = Class.MISSING if last.matches(entry.fingerprint) else Class.CONFLICT
    if ends_too_soon(entry.expires_at, rules):
        if last is not None:
            return Idle.EXPIRED
        return Refusal(
            entry.identity,
            cause,
            Action.CREATE,
            too_soon(rules),
            entry.origin,
            detail=ErrorCode.EXPIRES_TOO_SOON,
        )
    return Change(Action.CREATE, cause, entry.identity, after=entry, origin=entry.origin)


def _was_to_end(entry: Entry, last: Applied) -> bool:
    """True if the files still ask for the entry that ended, without renewal."""
    is_mortal = entry.ttl is not None and entry.renewal_margin() == 0
    return is_mortal and entry.ttl == last.mark.ttl and last.matches(entry.fingerprint)


def _lost(entry: Entry, actual: Actual, last: Applied | None, rules: Rules) -> Verdict:
    """An entry that kvsync wrote, found without its mark: other writers usually replace the mark together with the value."""
    if entry.mode is not Mode.ENFORCE:
        return _looked_at(entry, actual)
    reasons = differences(entry, actual)
    assert last is not None
    cause = Class.DRIFTED if not reasons or last.matches(entry.fingerprint) else Class.CONFLICT
    action = Action.UPDATE if reasons else Action.ADOPT
    reasons = (*reasons, "mark")
    if action is Action.ADOPT:
        reasons += lifetime(entry, actual, Mark(rules.owner, entry.fingerprint, entry.ttl), last, rules)[1]
    change = Change(action, cause, entry.identity, reasons, before=actual, after=entry, origin=entry.origin)
    return permitted(change, rules)


def _unowned(entry: Entry, actual: Actual, claim: Claim, last: Applied | None, rules: Rules) -> Verdict:
    if entry.mode is not Mode.ENFORCE:
        return _looked_at(entry, actual)
    reasons = differences(entry, actual)
    if not reasons and rules.adopt is not Adopt.NEVER:
        differing = lifetime(entry, actual, Mark(rules.owner, entry.fingerprint, entry.ttl), last, rules)[1]
        if actual.locked and not differing and not rules.insists:
            return Idle.UNCHANGED  # as the files ask, and whoever locked it wants it to stay so
        reasons = ("mark", *differing)
        change = Change(
            Action.ADOPT, Class.UNOWNED, entry.identity, reasons, before=actual, after=entry, origin=entry.origin
        )
        return permitted(change, rules)
    if rules.adopt is Adopt.ALWAYS:
        change = Change(
            Action.UPDATE, Class.UNOWNED, entry.identity, reasons, before=actual, after=entry, origin=entry.origin
        )
        return permitted(change, rules)
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
    reasons = differences(entry, actual)
    action, what = (Action.UPDATE, f"different {', '.join(reasons)}") if reasons else (Action.ADOPT, "equal content")
    why = f"it belongs to owner {owner!r} ({what}); to take it over, run kvsync transfer --from-owner {shlex.quote(owner)}"
    return Refusal(entry.identity, Class.TAKEN, action, why, entry.origin, reasons=reasons)


def _transferred(entry: Entry, actual: Actual, mark: Mark, rules: Rules) -> Verdict:
    """Write our mark to an entry of the owner that is taken over, and keep its content. If the content differs, the next plan
    changes it."""
    if entry.mode is Mode.OBSERVE:
        return _looked_at(entry, actual)
    former = replace(rules.signer, owner=mark.owner)
    if former.proof(actual.identity, mark) is Proof.NONE:
        reason = f"its mark of owner {mark.owner!r} was made for another place or key (a copy)"
        return Refusal(entry.identity, Class.TAKEN, Action.ADOPT, reason, entry.origin)
    reasons = differences(entry, actual)
    if reasons and (actual.content is None or actual.fingerprint is None):
        reason = f"it belongs to owner {mark.owner!r}, and its content was not read"
        return Refusal(entry.identity, Class.TAKEN, Action.ADOPT, reason, entry.origin, reasons=reasons)
    kept = entry
    if reasons and actual.content is not None and actual.fingerprint is not None:
        kept = replace(entry, content=actual.content, fingerprint=actual.fingerprint)
    change = Change(
        Action.ADOPT, Class.TAKEN, entry.identity, ("mark",), before=actual, after=kept, origin=entry.origin
    )
    return permitted(change, rules)


def _looked_at(entry: Entry, actual: Actual) -> Verdict:
    """An entry of mode `create-only` is done once it exists; one of mode `observe` is compared and never written."""
    reasons = differences(entry, actual)
    if entry.mode is Mode.CREATE_ONLY or not reasons:
        return Idle.UNCHANGED
    return Change(
        Action.UPDATE, Class.DRIFTED, entry.identity, reasons, before=actual, after=entry, origin=entry.origin
    )


def _owned(entry: Entry, actual: Actual, mark: Mark, last: Applied | None, rules: Rules) -> Verdict:
    if entry.mode is not Mode.ENFORCE:
        return _looked_at(entry, actual)
    reasons = differences(entry, actual)
    if reasons:
        cause = _cause(entry, actual, mark, last)
    else:
        cause, reasons = lifetime(entry, actual, mark, last, rules)
    action = Action.UPDATE
    if cause is Class.EXPIRING:
        action = Action.RENEW
    elif not reasons:
        is_current = (mark.sensitive, mark.protected) == (entry.sensitive, entry.protected)
        if (
            is_current
            and not must_be_renewed(actual, mark, rules.signer)
            and not releases_description(entry, actual, mark)
        ):
            return Idle.UNCHANGED
        action, cause, reasons = Action.ADOPT, Class.CHANGED, ("mark",)
    change = Change(action, cause, entry.identity, reasons, before=actual, after=entry, origin=entry.origin)
    return permitted(change, rules)


def _cause(entry: Entry, actual: Actual, mark: Mark, last: Applied | None) -> Class:
    """Why the content of an owned entry differs. The ledger, not the mark alone, says what was applied last: a restored old
    revision comes with its mark."""
    if last is not None and not last.has_ended and last.matches(entry.fingerprint):
        return Class.DRIFTED
    if is_as_applied(actual, mark, last):
        return Class.CHANGED
    return Class.DRIFTED if mark.matches(entry.fingerprint) else Class.CONFLICT
