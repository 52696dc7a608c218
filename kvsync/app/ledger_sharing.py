"""Which ledgers the replicas of a configuration share."""

from __future__ import annotations

from kvsync.app.workspace import Workspace
from kvsync.model.capabilities import Marks
from kvsync.stores.extensions import as_ledger_keeping


def unshared_ledgers(workspace: Workspace) -> list[str]:
    """The stores whose marks only this replica knows, so that another one would not know what is ours there; none where
    there are no replicas."""
    if workspace.config.run.lease is None:
        return []
    stores = sorted(workspace.stores.items())
    return [name for name, one in stores if one.capabilities.marks is Marks.LEDGER and as_ledger_keeping(one) is None]
