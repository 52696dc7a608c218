"""State directory: what kvsync keeps between runs. `StateDir` is the entry point.

directory   the facade: opens the state, and has one attribute for each part
trust       whether a directory may be used; `volume` finds it inside a shared volume
backend     the parts of the state besides its tables: key (`keys`), lock (`lock`), the signal that wakes a daemon
tables      the tables, described once; `schema` and `postgres_schema` migrate them
database    statements that all engines understand; `sqlite_database` and `postgres_database` are the engines,
            `postgres_faults` is what errors of the second mean
journal     intent and outcome of each change; `run` writes it, `run_history` searches it, `journal_pruning` bounds it
ledger      what kvsync applied last, by place; `clean_passes` the last clean pass of a place
places      the last known place of each target
passes      the last pass of each target, drift history, and the daemon's own record
parked      plans that wait for approval
pauses      paused targets and stores
contended   entries that another writer keeps changing back; `quarantine` holds those that a store refused
deletions   deletes in the last hour; `budgets` are requests that replicas share
claims      which replica works on which target
"""

from typing import TYPE_CHECKING

from kvsync.state.directory import StateDir
from kvsync.util.lazy_names import lazy_names

if TYPE_CHECKING:
    from kvsync.state.clean_passes import CleanPass
    from kvsync.state.contended import Contention
    from kvsync.state.parked import ParkedRecord
    from kvsync.state.passes import DaemonRecord, DriftPoint, LeaseRecord, PassRecord
    from kvsync.state.pauses import Pause, PausesByTarget
    from kvsync.state.places import PlaceRecord
    from kvsync.state.quarantine import Quarantined
    from kvsync.state.records import ChangeRecord, Intent, NamespaceRecord, RunCause, RunRecord, RunStatus, Settled
    from kvsync.state.run import Run
    from kvsync.state.run_history import RunFilter
    from kvsync.state.undo_requests import UndoRequest
    from kvsync.state.undone import UndoneEntry

__all__ = [
    "ChangeRecord",
    "CleanPass",
    "Contention",
    "DaemonRecord",
    "DriftPoint",
    "Intent",
    "LeaseRecord",
    "NamespaceRecord",
    "ParkedRecord",
    "PassRecord",
    "Pause",
    "PausesByTarget",
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

if not TYPE_CHECKING:  # else type checkers would accept every name
    __getattr__ = lazy_names(
        __name__,
        {
            "clean_passes": "CleanPass",
            "contended": "Contention",
            "parked": "ParkedRecord",
            "passes": "DaemonRecord DriftPoint LeaseRecord PassRecord",
            "pauses": "Pause PausesByTarget",
            "places": "PlaceRecord",
            "quarantine": "Quarantined",
            "records": "ChangeRecord Intent NamespaceRecord RunCause RunRecord RunStatus Settled",
            "run": "Run",
            "run_history": "RunFilter",
            "undo_requests": "UndoRequest",
            "undone": "UndoneEntry",
        },
    )
