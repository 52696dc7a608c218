"""State directory: what kvsync keeps between runs. `StateDir` is the entry point."""

from kvsync.state.contended import Contention
from kvsync.state.directory import StateDir
from kvsync.state.memo import Memo
from kvsync.state.parked import ParkedRecord
from kvsync.state.passes import DaemonRecord, DriftPoint, LeaseRecord, PassRecord
from kvsync.state.pauses import Pause
from kvsync.state.places import PlaceRecord
from kvsync.state.quarantine import Quarantined
from kvsync.state.records import ChangeRecord, Intent, RunCause, RunRecord, RunStatus, Settled
from kvsync.state.run import Run
from kvsync.state.run_history import RunFilter
from kvsync.state.undo_requests import UndoRequest
from kvsync.state.undone import UndoneEntry

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
    "RunCause",
    "RunFilter",
    "RunRecord",
    "RunStatus",
    "Settled",
    "StateDir",
    "UndoRequest",
    "UndoneEntry",
]
