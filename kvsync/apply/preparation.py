"""Prepares the steps of a call: scans the batch, or reads what must be known before an entry is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kvsync.apply.batch_check import BatchCheck
from kvsync.apply.model import PendingStep
from kvsync.apply.outcomes import OutcomeRecorder, StepResult
from kvsync.apply.read_back import is_untouched, loses_content
from kvsync.apply.replanning import Replanner
from kvsync.apply.store_access import StoreAccess
from kvsync.model.change import OutcomeKind
from kvsync.stores.partial import PartialRead

SplitSteps = list[list[PendingStep]]
"""Calls that must still be sent."""


class Preparation:
    """Separates the steps of a call that can be sent from those whose entry has changed since the plan."""

    def __init__(self, access: StoreAccess, recorder: OutcomeRecorder, replanner: Replanner, check: BatchCheck) -> None:
        self._access, self._recorder, self._replanner, self._check = access, recorder, replanner, check
        self._capabilities = access.capabilities

    async def prepare(self, part: list[PendingStep]) -> tuple[list[PendingStep], SplitSteps]:
        """Read what must be known before writing: the steps that can be sent, and those that must be sent again on their own.
        Raises StoreError, Stopped, StateDirError."""
        if not self._capabilities.compare_and_set:
            await self._check.refresh(part)
        unread = [work for work in part if self._must_read(work)]
        if not unread:
            return part, []
        try:
            fresh = await self._access.read([work.identity for work in unread])
        except PartialRead as partial:
            fresh = partial.found
            close_unread(self._recorder, unread, partial)
            part = [work for work in part if self._recorder.is_open(work)]
            unread = [work for work in unread if self._recorder.is_open(work)]
        moved: list[PendingStep] = []
        for work in unread:
            found = fresh.get(work.identity)
            if not is_untouched(work.change.before, found, self._capabilities):
                moved.append(work)
            elif found is not None and work.previous is not None:
                work.previous = replace(work.previous, content=found.content)
        again = await self._replanner.replan_each(moved, fresh)
        gone = {work.index for work in moved}
        return [work for work in part if work.index not in gone], again

    def _must_read(self, work: PendingStep) -> bool:
        """Without compare-and-set, every entry is read right before it is written, unless a scan has just confirmed it;
        otherwise only a content that would be lost."""
        if not self._capabilities.compare_and_set and not self._check.confirms(work):
            return True
        has_content = work.previous is None or work.previous.content is not None
        return not has_content and not work.change.sensitive and loses_content(work)


def close_unread(recorder: OutcomeRecorder, works: Sequence[PendingStep], partial: PartialRead) -> None:
    """Close steps whose entry cannot be read, because its content is unknown. Other steps do not wait for them. Raises
    StateDirError."""
    recorder.close(
        [
            StepResult(work, OutcomeKind.FAILED, f"it could not be read: {why}", is_unknown=work.lost)
            for work in works
            if recorder.is_open(work) and (why := partial.failed.get(work.identity)) is not None
        ]
    )
