"""Ledger as read from a store, and whether it can be trusted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field, replace

from kvsync.errors import ErrorCode, PermanentError
from kvsync.ledger.document import LedgerDamaged, LedgerRefused, decode
from kvsync.ledger.merge import Rows
from kvsync.planning.pass_target import PassTarget
from kvsync.util.values import dataclass


class LedgerNotOurs(PermanentError):
    """The store's ledger may be neither read nor replaced: it belongs to another owner, or a newer kvsync wrote it."""

    code = ErrorCode.LEDGER_FOREIGN


@dataclass(frozen=True, slots=True)
class FoundLedger:
    """The store's ledger at one moment: its bytes (None: missing), its rows, its revision, why it counts as lost (None: it does
    not), whether it would be written the same today, and the writes that were announced in it."""

    text: bytes | None
    rows: Rows
    revision: int = 0
    lost: str | None = None
    is_current: bool = True
    intents: Rows = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """True if it can be relied on."""
        return self.text is not None and self.lost is None

    def unless_older(self, known: Iterable[FoundLedger]) -> FoundLedger:
        """This ledger. If it is older than a `known` one, it came back from a copy or a late read and counts as lost: it must
        not make entries ours that were deleted since, nor foreign that were written since."""
        newest = max((one.revision for one in known), default=0)
        if not self.is_whole or self.revision >= newest:
            return self
        return replace(self, lost=f"it is an older one (revision {self.revision}; this machine has seen {newest})")

    def why_lost(self, known: Iterable[FoundLedger]) -> str | None:
        """Why it counts as lost; None if it does not, or never existed."""
        is_gone = self.text is None and any(one.rows for one in known)
        return "it no longer exists" if is_gone else self.lost


def read_ledger(text: bytes | None, subject: PassTarget) -> FoundLedger:
    """Read the ledger that was found in the store of a target. Raises LedgerNotOurs."""
    if text is None:
        return FoundLedger(None, {})
    try:
        document = decode(text, subject.signer)
    except LedgerDamaged as error:
        return FoundLedger(text, {}, lost=str(error))
    except LedgerRefused as error:
        raise LedgerNotOurs(f"{subject.target}: the ledger in the store: {error}") from None
    return FoundLedger(text, document.rows, document.revision, is_current=document.is_current, intents=document.intents)
