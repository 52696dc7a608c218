"""Order of writes: `after: [keys]` in stages, `after: all` once everything else of the target succeeded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from graphlib import TopologicalSorter

from kvsync.apply.model import PendingStep
from kvsync.apply.outcomes import OutcomeRecorder, StepResult
from kvsync.model.change import OutcomeKind
from kvsync.model.entry import Identity

_DONE = (OutcomeKind.APPLIED, OutcomeKind.UNCHANGED)


class WriteOrder:
    """The steps of one run: `deletes`, the writes before them in `stages`, and the `last` writes."""

    def __init__(self, works: Sequence[PendingStep], recorder: OutcomeRecorder) -> None:
        self._recorder = recorder
        self.deletes: list[PendingStep] = []
        self.last: list[PendingStep] = []
        self._written: list[PendingStep] = []
        self._has_order = False
        for work in works:
            entry = work.approved.after
            is_ordered = entry is not None and (entry.after_all or bool(entry.after))
            is_last = is_ordered and work.approved.is_last
            (self.deletes if work.is_delete else self.last if is_last else self._written).append(work)
            self._has_order |= is_ordered
        self._by_key: defaultdict[str, list[PendingStep]] = defaultdict(list)

    def stages(self) -> Iterator[list[PendingStep]]:
        """The writes in stages: those of a stage can be sent once all before it have their outcome. Steps that wait for a
        failed write end as `skipped`."""
        if not self._has_order:
            yield self._written
            return
        for work in self._written:
            self._by_key[work.identity.key].append(work)
        sorter: TopologicalSorter[str] = TopologicalSorter()
        for work in self._written:
            sorter.add(work.identity.key, *work.approved.written_after)
        sorter.prepare()
        while sorter.is_active():
            keys = sorter.get_ready()
            yield self._ready([work for key in keys for work in self._by_key.get(key, ())])
            sorter.done(*keys)

    def ready_last(self) -> list[PendingStep]:
        """The last writes, unless something else of the run failed: then they end as `skipped`."""
        failed = self._unfinished((*self._written, *self.deletes))
        return self._without(self.last, dict.fromkeys((work.index for work in self.last), failed) if failed else {})

    def _ready(self, works: Sequence[PendingStep]) -> list[PendingStep]:
        failed = {}
        for work in works:
            before = [one for key in work.approved.written_after for one in self._by_key.get(key, ())]
            if (other := self._unfinished(before)) is not None:
                failed[work.index] = other
        return self._without(works, failed)

    def _unfinished(self, works: Collection[PendingStep]) -> Identity | None:
        for work in works:
            outcome = self._recorder.outcome(work)
            if outcome is None or outcome.kind not in _DONE:
                return work.identity
        return None

    def _without(self, works: Sequence[PendingStep], failed: dict[int, Identity]) -> list[PendingStep]:
        self._recorder.close(
            [
                StepResult(
                    work,
                    OutcomeKind.SKIPPED,
                    f"not written, because {failed[work.index]} has to be written first and was not",
                )
                for work in works
                if work.index in failed
            ]
        )
        return [work for work in works if work.index not in failed]
