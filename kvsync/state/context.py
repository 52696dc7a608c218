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
    """What the parts of the state share. `key` returns the directory's secret key, which is read when it is first needed;
    `sealing_keys` returns the keys that seal fingerprints in the ledger of a place. `redact` removes secrets from texts of
    stores before they are stored. The `timeline` counts waits. `replica` returns the name of this process among replicas
    that share the state, None without them. `restore_key` writes the key again if its file is gone; True if it did."""

    database: Database
    key: Callable[[], bytes]
    sealing_keys: Callable[[str], SealingKeys]
    clock: Clock
    redact: Callable[[str], str]
    timeline: SteadyTime
    replica: Callable[[], str | None] = lambda: None
    restore_key: Callable[[], bool] = lambda: False

    def redacted(self, text: str | None) -> str | None:
        """`redact` for a text that may be absent."""
        return None if text is None else self.redact(text)
