"""Checks that entries have arrived in a target, before a move deletes their old names in another target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kvsync.model.desired import Desired
from kvsync.model.entry import Actual, Applied, Identity, Mode
from kvsync.planning.ownership import Claim, claim_of
from kvsync.planning.verdict import Rules
from kvsync.reconcile.observer import Observer


async def why_missing(
    desired: Desired, observer: Observer, rules: Rules, identities: Sequence[Identity]
) -> Mapping[Identity, str]:
    """Why entries cannot be relied on to be in a target, as words that follow their names. Entries that are as the files ask
    and proven to be ours are left out. Raises StoreError, StateDirError."""
    if desired.problems:
        return dict.fromkeys(identities, "is in a target that is held because of problems with its files")
    found, known = await observer.read(identities), observer.ledger.get(identities)
    reasons = {name: _reason(desired, name, found.get(name), known.get(name), rules) for name in identities}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _reason(desired: Desired, name: Identity, found: Actual | None, last: Applied | None, rules: Rules) -> str | None:
    entry = desired.entries.get(name)
    if entry is None:
        return "is not in the files"
    if found is None:
        return "is not there yet"
    if claim_of(found, last, rules.signer, rules.now) is not Claim.OWNED:
        return "exists there, but kvsync does not own it"
    is_right = entry.mode is not Mode.ENFORCE or found.fingerprint == entry.fingerprint
    return None if is_right else "is not as desired there"
