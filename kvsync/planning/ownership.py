"""Decides whether kvsync owns an entry, from its mark, the ledger, and the place.

mark found                          ledger, at this place   claim      may be overwritten     may be deleted
─────────────────────────────────   ─────────────────────   ────────   ────────────────────   ──────────────
ours, valid here                    anything                owned      yes                    yes
ours, of an earlier version         content as applied      owned      yes                    yes
ours, of an earlier version         knows it                lost       as policy.drift says   no
ours, of an earlier version         does not know it        weak       as policy.adopt says   no
ours, made for another place, key   knows it                lost       as policy.drift says   no
ours, made for another place, key   does not know it        copied     as policy.adopt says   no
none                                knows it                lost       as policy.drift says   no
none                                does not know it        nobody     as policy.adopt says   no
another owner's                     anything                taken      no                     no
(the store has no room for marks)   content as applied      owned      yes                    yes
(the store has no room for marks)   knows it                recorded   as policy.drift says   no
"""

from __future__ import annotations

from enum import StrEnum

from kvsync.model.entry import Actual, Applied, Mark
from kvsync.planning.marks import MarkSigner, Proof


class Claim(StrEnum):
    """Whose an entry is, as far as it can be proven. The table of the module says what follows."""

    OWNED = "owned"
    WEAK = "weak"
    RECORDED = "recorded"
    LOST = "lost"
    COPIED = "copied"
    TAKEN = "taken"
    NOBODY = "nobody"


def claim_of(actual: Actual, last: Applied | None, signer: MarkSigner, now: float) -> Claim:
    """Whose the entry is. `last` is its row in the ledger of this place, `now` is in seconds since the epoch."""
    mark = actual.mark
    if mark is None:
        return Claim.LOST if _is_known(actual, last, now) else Claim.NOBODY
    if mark.owner != signer.owner:
        return Claim.TAKEN
    if mark.is_recorded:
        return _recorded(actual, last)
    proof = signer.proof(actual.identity, mark)
    if proof is Proof.NONE:
        return Claim.LOST if _is_known(actual, last, now) else Claim.COPIED
    if proof is Proof.WEAK and not _is_as_applied(actual, last):
        return Claim.LOST if _is_known(actual, last, now) else _unknown(signer)
    return Claim.OWNED


def must_be_renewed(actual: Actual, mark: Mark, signer: MarkSigner) -> bool:
    """True if a mark of ours must be written again: it has no seal, or one made with another key."""
    return not mark.is_recorded and signer.proof(actual.identity, mark) is not Proof.VALID


def _recorded(actual: Actual, last: Applied | None) -> Claim:
    """The claim that the ledger alone supports. An entry that was not visible for a while is ours only if it has the content
    that kvsync wrote."""
    if _is_as_applied(actual, last):
        return Claim.OWNED
    return Claim.NOBODY if last is None or last.unseen_since is not None else Claim.RECORDED


def _unknown(signer: MarkSigner) -> Claim:
    """An entry that is not in the ledger, with a mark that anyone could have made or copied. With an owner key it counts as a
    copy; without one it may be ours from an earlier version, so it is reported."""
    return Claim.COPIED if signer.keys else Claim.WEAK


def _is_known(actual: Actual, last: Applied | None, now: float) -> bool:
    """True if kvsync wrote this content according to the ledger. The ledger must have the same content for an entry that ended
    or was not visible."""
    if last is None or last.has_ended:
        return False
    is_over = last.expires_at is not None and last.expires_at <= now
    return (not is_over and last.unseen_since is None) or _is_as_applied(actual, last)


def _is_as_applied(actual: Actual, last: Applied | None) -> bool:
    if last is None or last.has_ended:
        return False
    if last.etag is not None and last.etag == actual.etag:
        return True
    return actual.fingerprint is not None and last.matches(actual.fingerprint)
