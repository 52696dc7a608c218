"""State directory: what kvsync keeps between runs. `StateDir` is the entry point."""

from kvsync.state.contended import Contention
from kvsync.state.directory import StateDir
from kvsync.state.memo import Memo
from kvsync.state.parked import ParkedRecord
from kvsync.state.passes import DaemonRecord, DriftPoint, LeaseRecord, PassRecord
from kvsync.state.pauses import Pause
from kvsync.state.places import PlaceRecord
from kvsync.state.quarantine import Quarantined
from kvsync.state.records import ChangeRecord, Intent, RunRecord, RunStatus, Settled
from kvsync.state.run import Run

__all__ = [
    "ChangeRecord",
    "Contention",
    "DaemonRecord",
    "DriftPoint",
    "Intent",
    "LeaseRecord",
    "Memo",
    "ParkedRecord",
    "PassRecord",
    "Pause",
    "PlaceRecord",
    "Quarantined",
    "Run",
    "RunRecord",
    "RunStatus",
    "Settled",
    "StateDir",
]
