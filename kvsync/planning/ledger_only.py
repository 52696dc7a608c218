"""Changes that need no write, because the store has no marks and only the ledger changes."""

from __future__ import annotations

from kvsync.model.capabilities import Capabilities, Lifetimes, Marks
from kvsync.model.change import Change


def is_ledger_only(change: Change, capabilities: Capabilities) -> bool:
    """True when the entry is as it must be, and only the ledger has to say so: an equal one is adopted, or given another
    lifetime that nobody but kvsync knows of."""
    before, after = change.before, change.after
    if capabilities.marks is not Marks.LEDGER or before is None or after is None:
        return False
    if before.fingerprint is None or before.fingerprint != after.fingerprint:
        return False
    return capabilities.lifetimes is Lifetimes.EMULATED or change.reasons == ("mark",)
