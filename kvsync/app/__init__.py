"""Application layer shared by the commands and the daemon: it wires configuration, state directory, stores and files
together.
"""

from kvsync.app.model import Report, TargetSelection, is_hash_of, resolve_targets, unmatched_keys
from kvsync.app.open import assemble, open_workspace
from kvsync.app.workspace import Workspace
from kvsync.desired import DesiredState

__all__ = [
    "DesiredState",
    "Report",
    "TargetSelection",
    "Workspace",
    "assemble",
    "is_hash_of",
    "open_workspace",
    "resolve_targets",
    "unmatched_keys",
]
