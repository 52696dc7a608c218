"""Changes that need no write, because the store has no marks and only the ledger changes."""

from __future__ import annotations

from kvsync.model.capabilities import Capabilities, Lifetimes, Marks
from kvsync.model.change import Change


def is_ledger_only(change: Change, capabilities: Capabilities) -> bool:
    """True if the entry is already as desired and only the ledger must be updated: an equal entry is adopted, or gets another
    lifetime that only kvsync records."""
    before, after = change.before, change.after
    if capabilities.marks is not Marks.LEDGER or before is None or after is None:
        return False
    if before.fingerprint is None or before.fingerprint != after.fingerprint:
        return False
    return capabilities.lifetimes is Lifetimes.EMULATED or change.reasons == ("mark",)
