"""The option `ledger`: where the ledger of a store without marks is kept."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from kvsync.yaml.fields import Field, choice


class LedgerPlace(StrEnum):
    """Where the ledger is kept: in the state directory of this machine, or in the store, where every machine finds it."""

    LOCAL = "local"
    STORE = "store"


LEDGER: Final = Field(
    "ledger",
    choice(LedgerPlace),
    default=LedgerPlace.LOCAL,
    help="Where kvsync records the entries it owns: `local`, in the state directory, or `store`, for several machines.",
)
