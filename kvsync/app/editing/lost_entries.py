"""Entries that were deleted in a store: which of them can be removed from their files."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kvsync.model.desired import Desired
from kvsync.model.entry import Entry, Identity, Target, brief

if TYPE_CHECKING:
    from kvsync.desired import DesiredState

_GONE: Final = "it was deleted in the store"
_RESTORE: Final = "or run kvsync apply to restore it"
_BY_HAND: Final = f"to accept that, remove it from the file, {_RESTORE}"


@dataclass(frozen=True, slots=True)
class LostEntries:
    """The entries of a target that its store had, and does not have any more."""

    desired: Desired
    identities: frozenset[Identity]

    @classmethod
    def of(cls, loaded: DesiredState, target: Target, identities: Collection[Identity]) -> LostEntries:
        """Those of one target."""
        return cls(loaded.targets[target], frozenset(identities))

    def why_kept(self, entry: Entry, environments: Collection[str], *, is_certain: bool) -> str | None:
        """Why a lost entry stays in its file; None if it can be removed. When in doubt it stays: without it, the next pass
        deletes the key wherever the file is applied."""
        if environments:
            return f"{_GONE}, but the file serves all environments; {_BY_HAND}"
        if not is_certain:
            return f"{_GONE}, according to an incomplete listing; run the command again, {_RESTORE}"
        if self.identities >= self.desired.entries.keys():
            return f"{_GONE}, like everything else in the target; {_BY_HAND}"
        return self._why_needed(entry)

    def _why_needed(self, entry: Entry) -> str | None:
        """Why the file would not be valid without the entry."""
        key = entry.identity.key
        if not self._of_key(key) <= self.identities:
            return f"{_GONE}, but not under its other labels; {_BY_HAND}"
        waiting = [one for one in self.desired.entries.values() if key in one.after]
        if any(one.identity not in self.identities for one in waiting):
            return f"{_GONE}, but {brief(waiting[0].identity)} is written after it; {_BY_HAND}"
        if any(move.destination == key for move in self.desired.moved):
            return f"{_GONE}, but `moved` names it; {_BY_HAND}"
        if self._is_last(entry):
            return f"{_GONE}, and without it the file would have no keys; {_BY_HAND}"
        return None

    def _of_key(self, key: str) -> set[Identity]:
        return {identity for identity in self.desired.entries if identity.key == key}

    def _is_last(self, entry: Entry) -> bool:
        """True if all entries of the target in this file are lost."""
        file = entry.origin.file if entry.origin is not None else None
        of_file = (one for one in self.desired.entries.values() if one.origin is not None and one.origin.file == file)
        return all(one.identity in self.identities for one in of_file)
