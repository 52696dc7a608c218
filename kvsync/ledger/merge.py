"""Merge rules for the local and the remote ledger when they disagree about an entry.

    ours                  the store's              what counts
    ───────────────────   ──────────────────────   ──────────────────────────────────────────────────────────────────
    same as the store's   -                        the one that is sealed with the better key, else ours
    as known of there     anything                 the store's: another machine was here
    gone, known of there  as known                 gone: we deleted it, and could not say so yet
    gone, known of there  anything else            the store's: it was made again
    changed since         only one of the two      that one
                          describes what is there
    changed since         as known                 ours: we could not say so yet, or an older ledger was written over it
    changed since         anything else            the store's

"Known" is the store's ledger as this machine took it in last, and as it left it there since: another machine that read the
ledger before may still write what it read, so what was left counts as said only once it was seen there again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kvsync.ledger.document import LedgerRow
from kvsync.model.entry import Identity
from kvsync.planning.sealing import SealingKeys

Rows = Mapping[Identity, LedgerRow]

Describes = Callable[[Identity, LedgerRow], bool]
"""Says whether a row describes the existing entry."""


def merge(
    ours: Rows, known: Sequence[Rows], theirs: Rows, describes: Describes, keys: SealingKeys
) -> dict[Identity, LedgerRow]:
    """The merged rows. `known` is what this machine knows of the store's ledger, `theirs` that ledger as it is now, `keys` the
    keys that this machine holds."""
    merged: dict[Identity, LedgerRow] = {}
    for identity in ours.keys() | theirs.keys():
        our, their = ours.get(identity), theirs.get(identity)
        row: LedgerRow | None
        if our is not None and our.is_same(their):
            row = their if their is not None and _is_better(their, our, keys) else our
        else:
            row = _row(identity, our, [rows.get(identity) for rows in known] or [None], their, describes)
        if row is not None:
            merged[identity] = row
    return merged


def _row(
    identity: Identity,
    our: LedgerRow | None,
    known: Sequence[LedgerRow | None],
    their: LedgerRow | None,
    describes: Describes,
) -> LedgerRow | None:
    if our is None:
        return None if any(known) and their in known else their
    if all(our.is_same(row) for row in known):
        return their
    is_ours, is_theirs = describes(identity, our), their is not None and describes(identity, their)
    if is_theirs and not is_ours:
        return their
    return our if their in known or (is_ours and not is_theirs) else their


def left_as_is(rows: Rows, document: Rows, keys: SealingKeys) -> dict[Identity, LedgerRow]:
    """The rows to write. A row stays as it is in the document if that says the same under a seal that is at least as good, so
    that two machines with different keys do not overwrite it in turns."""
    return {identity: _kept(row, document.get(identity), keys) for identity, row in rows.items()}


def _kept(row: LedgerRow, there: LedgerRow | None, keys: SealingKeys) -> LedgerRow:
    if there is None or not there.is_same(row):
        return row
    return row if keys.is_for_all(row.seal) and not keys.is_for_all(there.seal) else there


def _is_better(their: LedgerRow, our: LedgerRow, keys: SealingKeys) -> bool:
    """True if more machines can compare the seal of their row, or if this one can."""
    if keys.is_for_all(their.seal) or keys.is_for_all(our.seal):
        return not keys.is_for_all(our.seal)
    return our.seal is not None and keys.is_held(their.seal) and not keys.is_held(our.seal)
