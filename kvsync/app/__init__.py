"""Everything one process works with: configuration, state directory, stores, files. Commands and the daemon both start here,
and neither knows how the parts fit together.
"""

from kvsync.app.model import Report, TargetSelection, is_hash_of, resolve_targets
from kvsync.app.open import assemble, open_workspace
from kvsync.app.workspace import Workspace

__all__ = ["Report", "TargetSelection", "Workspace", "assemble", "is_hash_of", "open_workspace", "resolve_targets"]
