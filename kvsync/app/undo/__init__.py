"""Undo of runs: selects them, previews the plan, and executes it, also while a daemon runs."""

from kvsync.app.undo.choice import ChosenRuns, UndoChoice, chosen_runs
from kvsync.app.undo.execution import UndoExecution, finish_open
from kvsync.app.undo.operation import UndoOperation
from kvsync.app.undo.queue import QueuedUndo
from kvsync.app.undo.without_file import no_preview, no_replica, open_state_workspace

__all__ = [
    "ChosenRuns",
    "QueuedUndo",
    "UndoChoice",
    "UndoExecution",
    "UndoOperation",
    "chosen_runs",
    "finish_open",
    "no_preview",
    "no_replica",
    "open_state_workspace",
]
