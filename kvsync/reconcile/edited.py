"""Passes over the entries that an edit of the files changed, of targets whose store has not changed since a clean pass.

That pass found every entry as the files asked then. The store confirms with one token that it still holds the same. So the
entries that the edit did not change are as the files ask, and nothing is listed, compared or looked up for them. If there is
any doubt, the target gets a whole pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from kvsync.model.capabilities import Marks
from kvsync.model.desired import Desired, EditedEntries
from kvsync.model.entry import Actual, Identity, identity_order
from kvsync.model.pass_options import PassOptions
from kvsync.model.policy import Prune
from kvsync.model.snapshot import Snapshot
from kvsync.planning.compare import Comparison
from kvsync.reconcile.clean_pass import OWNED
from kvsync.state import CleanPass
from kvsync.stores.base import Store
from kvsync.stores.extensions import TokenChecking, as_ledger_keeping, filters_listing, has_extension


class EditedTarget(NamedTuple):
    """The last clean pass of a target, and what an edit of the files changed since."""

    clean: CleanPass
    edit: EditedEntries

    @property
    def identities(self) -> tuple[Identity, ...]:
        """The entries that the edit changed, added or removed, in order."""
        return tuple(sorted({*self.edit.before, *self.edit.after}, key=identity_order))

    def snapshot(self, desired: Desired, found: Mapping[Identity, Actual]) -> Snapshot:
        """What the store holds of these entries."""
        return Snapshot(desired.target, found, {}, token=self.clean.token)

    def comparison(self) -> Comparison:
        """What a comparison of all entries would find: the edited ones differ, the others are as the clean pass counted."""
        counts = self.clean.counts
        unchanged = counts["unchanged"] - len(self.edit.before)
        return Comparison(self.identities, unchanged, counts["foreign"], 0, counts[OWNED])


def may_plan_edit(desired: Desired, store: Store, ask: PassOptions) -> bool:
    """True if a pass of the target may look at its edited entries alone: only the entries decide what the plan is, and a token
    of the store says that none of the others changed, in one call."""
    if not desired.edits or desired.problems or desired.moved or desired.absent or desired.policy.ignore:
        return False
    if ask != PassOptions(deletes_namespaces=ask.deletes_namespaces, grace=ask.grace):
        return False
    capabilities = store.capabilities
    if desired.policy.prune is Prune.OFF or capabilities.marks is not Marks.STORE or capabilities.settle:
        return False
    return has_extension(store, TokenChecking) and as_ledger_keeping(store) is None and not filters_listing(store)


def is_exact(clean: CleanPass, edit: EditedEntries, desired: Desired) -> bool:
    """True if the counts of a clean pass show that it found every entry of the files of its time as they asked, nothing that
    ends or waits, and nothing else in the store that the edit may concern."""
    counts, had = clean.counts, len(desired.entries) - len(edit.after) + len(edit.before)
    if clean.token is None or clean.next_moment is not None or OWNED not in counts:
        return False
    if counts["unchanged"] != had or counts["ignored"] or counts["expired"] or counts["orphans"]:
        return False
    adds_nothing = edit.after.keys() <= edit.before
    return adds_nothing or not counts["foreign"]
