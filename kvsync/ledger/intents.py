"""Announcements in the store's ledger: what a pass is about to write to entries that are already ours.

A machine that is killed after such a write cannot record it. The next machine compares the content with what was announced: if
they are equal, that is what was applied last.

    the entry holds           the ledger says from now on
    ───────────────────────   ──────────────────────────────────────────────────────────────────────
    what was announced        that it was applied
    anything else             what it said before; the announcement stays for `LASTS`, unless we write the entry
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from kvsync.ledger.document import LedgerRow
from kvsync.ledger.merge import Rows
from kvsync.model.entry import Actual, Applied, Identity

LASTS: Final = 3600.0
"""Seconds after which an announcement is dropped: the machine that made it has stopped."""


def still_open(announced: Rows, before: Rows, now_known: Rows, now: float) -> dict[Identity, LedgerRow]:
    """The announcements to keep when the ledger is written. `before` are the rows next to them, `now_known` the rows that
    replace those, `now` is in epoch seconds."""
    return {
        identity: row
        for identity, row in announced.items()
        if now_known.get(identity) == before.get(identity) and abs(now - (row.unseen_since or 0)) < LASTS
    }


def unsettled(announced: Rows, ours: Mapping[Identity, Applied]) -> dict[Identity, LedgerRow]:
    """The announcements that are not yet recorded as applied in `ours`."""
    return {
        identity: row
        for identity, row in announced.items()
        if identity not in ours or ours[identity].mark.fingerprint != row.fingerprint
    }


def landed(
    announced: Rows, found: Mapping[Identity, Actual], applied: Callable[[LedgerRow], Applied]
) -> dict[Identity, Applied]:
    """The announcements that were carried out, according to the entries `found`."""
    rows = {identity: applied(row._replace(unseen_since=None)) for identity, row in announced.items()}
    return {
        identity: rows[identity]
        for identity, actual in found.items()
        if actual.fingerprint is not None and rows[identity].matches(actual.fingerprint)
    }
