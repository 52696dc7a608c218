"""Planning of a release: the mark of an entry is removed, and everything else stays."""

from __future__ import annotations

from kvsync.errors import ErrorCode
from kvsync.model.canonical import fingerprint
from kvsync.model.change import Action, Change, Class, Refusal
from kvsync.model.entry import Actual, Applied, Entry, Identity
from kvsync.planning.ownership import Claim, claim_of
from kvsync.planning.verdict import Rules, ends_too_soon, too_soon

_LOCKED = "it is locked in the store; unlock it there, and run kvsync release again"
_UNREAD = "its content was not read, so removing its mark could damage it; run kvsync release again"
_WEAK = "its mark was made by an earlier version of kvsync, and it is not in the ledger; adopt it, and release it then"


def classify_release(actual: Actual, last: Applied | None, rules: Rules) -> Change | Refusal | None:
    """Plan the release of one entry; None if it has no mark of ours. `last` is its row in the ledger of this place."""
    claim, identity = claim_of(actual, last, rules.signer, rules.now), actual.identity
    if claim is Claim.WEAK:
        return Refusal(identity, Class.UNOWNED, Action.RELEASE, _WEAK)
    if claim is not Claim.OWNED or actual.mark is None:
        return None
    if actual.locked and not actual.mark.is_recorded:
        return Refusal(identity, Class.LOCKED, Action.RELEASE, _LOCKED)
    if actual.content is None:
        return Refusal(identity, Class.UNOWNED, Action.RELEASE, _UNREAD)
    if ends_too_soon(actual.expires_at, rules):
        detail = ErrorCode.EXPIRES_TOO_SOON
        return Refusal(identity, Class.UNOWNED, Action.RELEASE, too_soon(rules), detail=detail)
    return Change(Action.RELEASE, Class.UNOWNED, identity, ("mark",), before=actual, after=_kept(identity, actual))


def _kept(identity: Identity, actual: Actual) -> Entry | None:
    """The entry as it is, without an owner."""
    if actual.content is None:
        return None
    digest = actual.fingerprint or fingerprint(actual.content)
    return Entry(identity, actual.content, digest, sensitive=actual.mark is not None and actual.mark.sensitive)
