"""Checks of `doctor` on the ledgers that a store keeps."""

from __future__ import annotations

from collections.abc import Iterable

from kvsync.errors import ErrorCode, PermanentError
from kvsync.ledger.document import LedgerDamaged, LedgerRefused, decode
from kvsync.model.health import DoctorCheck
from kvsync.planning.pass_target import PassTarget
from kvsync.stores.extensions import LedgerKeeping


async def examine(store: LedgerKeeping, targets: Iterable[PassTarget]) -> DoctorCheck:
    """Check whether the ledger of each target is complete, and ours. Raises StoreError."""
    wrong: list[str] = []
    code: ErrorCode | None = None
    entries = 0
    for subject in targets:
        try:
            text = await store.read_ledger(subject.target.namespace)
            entries += len(decode(text, subject.signer).rows) if text is not None else 0
        except (LedgerDamaged, LedgerRefused, PermanentError) as error:
            wrong.append(f"{subject.target}: {error}")
            code = code or _code_of(error)
    if not wrong:
        return DoctorCheck("ledger", True, f"{entries:,} entries in the ledgers that the store keeps")
    hint = (
        "run kvsync apply to restore a damaged ledger from the state directory; a new checkout adopts matching entries"
    )
    return DoctorCheck("ledger", False, "; ".join(wrong), hint, code)


def _code_of(error: LedgerDamaged | LedgerRefused | PermanentError) -> ErrorCode:
    if isinstance(error, PermanentError):
        return error.code
    return ErrorCode.LEDGER_LOST if isinstance(error, LedgerDamaged) else ErrorCode.LEDGER_FOREIGN
