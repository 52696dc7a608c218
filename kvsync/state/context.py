"""Context shared by the parts of the state directory."""

from __future__ import annotations

from collections.abc import Callable

from kvsync.planning.sealing import SealingKeys
from kvsync.state.database import Database
from kvsync.state.steady_time import SteadyTime
from kvsync.util.clock import Clock
from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class Context:
    """`key` gives the directory's secret key, read when it is first needed; `sealing_keys` the keys that fingerprints are
    sealed with in the ledger of a place. `redact` goes over every text that a store may have worded, before it is kept. The
    `timeline` keeps the moments that waits depend on. `replica` is what this process is called where several share the state,
    else None."""

    database: Database
    key: Callable[[], bytes]
    sealing_keys: Callable[[str], SealingKeys]
    clock: Clock
    redact: Callable[[str], str]
    timeline: SteadyTime
    replica: Callable[[], str | None] = lambda: None

    def redacted(self, text: str | None) -> str | None:
        """`redact` for a text that may be absent."""
        return None if text is None else self.redact(text)
