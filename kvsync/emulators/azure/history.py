"""Revisions of all key-values until their retention ends."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Final

from kvsync.emulators.azure.model import NOW, KeyValue, Revision, Slot, View
from kvsync.emulators.storage import Storage

_FORGET_EVERY: Final = 60.0  # seconds


class History:
    """Revisions by slot, oldest first, stored as documents of this `kind`. `number` is that of the last write and never goes
    back."""

    def __init__(self, storage: Storage, kind: str = "revision") -> None:
        self._storage, self._kind = storage, kind
        self._revisions: dict[Slot, list[Revision]] = {}
        self._slots: list[Slot] = []
        self._writes: list[tuple[float, int]] = []
        self._forgotten = float("-inf")
        self.number = 0
        self.size = 0  # bytes of what is there now
        for name, document in storage.items(kind):
            self._add(Revision.read(int(name), json.loads(document)))

    def clear(self) -> None:
        """Forget everything."""
        self._revisions, self._slots, self._writes, self.size = {}, [], [], 0
        self._storage.clear(self._kind)

    def record(self, slot: Slot, state: KeyValue | None, at: float) -> None:
        """Add a revision; None is a delete."""
        revision = Revision(self.number + 1, at, slot, state)
        self._add(revision)
        self._storage.put(self._kind, f"{revision.number:016d}", json.dumps(revision.document()))

    def current(self, slot: Slot, view: View = NOW) -> KeyValue | None:
        """What the slot holds, as a reader of this view sees it."""
        return next((found.state for found in reversed(self._revisions.get(slot, ())) if view.shows(found)), None)

    def revisions(self, slot: Slot, view: View = NOW) -> Iterator[KeyValue]:
        """What the slot has held, newest first; deletes are not shown."""
        for revision in reversed(self._revisions.get(slot, ())):
            if revision.state is not None and view.shows(revision):
                yield revision.state

    def slots(self, start: Slot, *, after: bool = False) -> Iterator[Slot]:
        """All slots in order, from one on, or from the one after it."""
        first = (bisect_right if after else bisect_left)(self._slots, start)
        for index in range(first, len(self._slots)):
            yield self._slots[index]

    def number_at(self, moment: float) -> int:
        """The number of the last write that was done by then."""
        index = bisect_right(self._writes, (moment, self.number))
        return self._writes[index - 1][1] if index else 0

    def prune(self, before: float) -> None:
        """Drop revisions that ended before a moment; looks at most once a minute of that time."""
        if before < self._forgotten + _FORGET_EVERY:
            return
        self._forgotten = before
        for slot, revisions in list(self._revisions.items()):
            later = zip(revisions[1:], range(1, len(revisions)), strict=True)
            ended = max((index for following, index in later if following.at < before), default=0)
            if revisions[-1].state is None and revisions[-1].at < before:
                ended = len(revisions)
            self._drop(slot, revisions, ended)

    def _add(self, revision: Revision) -> None:
        revisions = self._revisions.setdefault(revision.slot, [])
        if not revisions:
            insort(self._slots, revision.slot)
        held = revisions[-1].state if revisions else None
        self.size += (revision.state.size if revision.state else 0) - (held.size if held else 0)
        revisions.append(revision)
        self.number = revision.number
        self._writes.append((revision.at, revision.number))

    def _drop(self, slot: Slot, revisions: list[Revision], count: int) -> None:
        for revision in revisions[:count]:
            self._storage.delete(self._kind, f"{revision.number:016d}")
        del revisions[:count]
        if not revisions:
            del self._revisions[slot]
            self._slots.remove(slot)
