"""Classification of entries that the files do not ask for: kvsync deletes those that it provably owns, if the policy allows.

actual            last applied   class      what
───────────────   ────────────   ────────   ──────────────────────────────────
ours, as applied  any            removed    delete, as policy.prune says
ours, changed     any            conflict   delete, as both policies say
not proven ours   known          unowned    refused
not ours          not known      foreign    nothing, unless prune: scope
"""

from __future__ import annotations

from kvsync.model.change import Action, Change, Class, Refusal
from kvsync.model.entry import Actual, Applied, Mark
from kvsync.model.policy import Prune
from kvsync.planning.difference import is_as_applied
from kvsync.planning.ownership import Claim, claim_of
from kvsync.planning.verdict import Idle, Removal, Rules, Verdict, permitted

_IN_SCOPE = frozenset({Claim.NOBODY, Claim.COPIED, Claim.LOST})
"""What `prune: scope` deletes although it is not proven to be ours."""

_HOW_TO_GO_ON = "delete it in the store, or add its key to policy.ignore"

UNPROVEN = {
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


def classify_undesired(actual: Actual, last: Applied | None, removal: Removal | None, rules: Rules) -> Verdict:
    """Classify one entry of the store that the files do not ask for."""
    claim = claim_of(actual, last, rules.signer, rules.now)
    if claim is Claim.OWNED and actual.mark is not None:
        return _removed(actual, actual.mark, last, removal, rules)
    if removal is None and rules.prune is Prune.SCOPE and claim in _IN_SCOPE:
        return permitted(Change(Action.DELETE, Class.FOREIGN, actual.identity, before=actual), rules)
    if claim not in UNPROVEN:
        return _not_ours(actual, removal, rules)
    if removal is None and rules.prune is Prune.OFF:
        return Idle.FOREIGN if claim is Claim.LOST else Idle.UNCHANGED
    origin = removal.origin if removal is not None else None
    return Refusal(actual.identity, Class.UNOWNED, Action.DELETE, why_unproven(claim, actual, last), origin)


def _removed(actual: Actual, mark: Mark, last: Applied | None, removal: Removal | None, rules: Rules) -> Verdict:
    if removal is None and rules.prune is Prune.OFF:
        return Idle.ORPHAN
    cause = Class.REMOVED if is_as_applied(actual, mark, last) else Class.CONFLICT
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
    return permitted(change, rules)


def _not_ours(actual: Actual, removal: Removal | None, rules: Rules) -> Verdict:
    if removal is None:
        return Idle.FOREIGN
    if actual.mark is None or actual.mark.owner == rules.owner:
        reason, cause = "the files list it under absent, but kvsync did not write it", Class.UNOWNED
    else:
        reason, cause = f"the files list it under absent, but it belongs to owner {actual.mark.owner!r}", Class.TAKEN
    return Refusal(actual.identity, cause, Action.DELETE, reason, removal.origin)


def why_unproven(claim: Claim, actual: Actual, last: Applied | None) -> str:
    """Why an entry is not proven to be ours, and what to do about it; `claim` is one of `UNPROVEN`."""
    if claim is Claim.RECORDED and last is not None and not last.mark.is_comparable:
        return f"{_NOT_COMPARABLE} {_HOW_TO_GO_ON}"
    why = UNPROVEN[claim]
    if claim is Claim.LOST and actual.mark is not None:
        why = _OTHER_CONTENT if actual.mark.seal is None else _NOT_VERIFIED
    return f"{why}; {_HOW_TO_GO_ON}"
