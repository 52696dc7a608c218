"""Checks and verifies many writes with one scan, in stores without compare-and-set.

    scan ──> writes for up to 10 s ──> scan ──> writes for up to 10 s ──> scan
      confirms what is to be written     confirms what was written, and what is to be written next

A scan only saves reads: whatever it does not confirm beyond doubt is read on its own, before its write and after it. Until the
scan that verifies them, confirmed writes are open intents in the journal, so that a killed run leaves them to recovery.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from kvsync.apply.intents import GroupedIntents
from kvsync.apply.model import PendingStep
from kvsync.apply.outcomes import MOST_TOGETHER, OutcomeRecorder, StepResult
from kvsync.apply.read_back import is_confirmed, is_written
from kvsync.apply.store_access import StoreAccess
from kvsync.apply.verification import Done, ReadBack
from kvsync.errors import StoreError
from kvsync.model.capabilities import Marks
from kvsync.model.change import Change, OutcomeKind
from kvsync.model.entry import Actual, Identity
from kvsync.planning.marks import MarkSigner
from kvsync.stores.extensions import VersionHints

FRESH_SECONDS: Final = 10.0
"""Seconds from the start of a scan within which a write may rely on it."""

_LONGEST_SCAN: Final = FRESH_SECONDS / 2
"""Seconds of a scan after which too little time is left to write."""


class BatchCheck:
    """The scans of one batch: the calls whose entries are looked at together."""

    def __init__(
        self,
        access: StoreAccess,
        recorder: OutcomeRecorder,
        signer: MarkSigner,
        calls: Sequence[list[PendingStep]],
        hints: VersionHints,
    ) -> None:
        self._access, self._recorder, self._signer, self._hints = access, recorder, signer, hints
        self.calls, self._calls_left = calls, len(calls)
        self._works = [work for call in calls for work in call]
        self._capabilities = access.capabilities
        self._read_back = ReadBack(access, recorder)
        self._confirmed: dict[int, Change] = {}
        self._done: dict[int, Done] = {}
        self._begun_at: float | None = None
        self._is_deferring = self._is_checking = not self._capabilities.compare_and_set and len(self._works) > 1
        self._scanning = asyncio.Lock()
        self._intents = GroupedIntents(recorder.intend)
        self._next = 0

    async def intend(self, ready: Sequence[PendingStep]) -> None:
        """Commit the intents of steps that are about to be sent. Raises StateDirError: then nothing may be sent."""
        if self._capabilities.compare_and_set and self._capabilities.marks is Marks.STORE:
            self._recorder.intend(self._with_next_creates(ready))
        else:
            await self._intents.commit(ready)

    def _with_next_creates(self, ready: Sequence[PendingStep]) -> list[PendingStep]:
        """Steps whose intents are about to be committed, and creates of the batch that are sent next. Without compare-and-set,
        where entries are read right before they are sent, and where the intents of a killed run say what is ours, none may be
        committed early."""
        is_due = not all(work.recorded for work in ready)
        found, taken = list(ready), {work.index for work in ready}
        while is_due and self._next < len(self._works) and len(found) < MOST_TOGETHER:
            work = self._works[self._next]
            self._next += 1
            if work.change.before is None and not work.recorded and work.index not in taken:
                found.append(work)
        return found

    async def refresh(self, works: Sequence[PendingStep]) -> None:
        """Scan the batch, unless the last scan can still be relied on for these steps. Raises StateDirError."""
        async with self._scanning:
            is_due = self._is_checking and not self._is_fresh
            if is_due and any(not work.lost and not work.tries for work in works):
                await self._scan()

    def confirms(self, work: PendingStep) -> bool:
        """True if a scan has just shown the entry as the change was planned against it."""
        return self._is_fresh and not work.lost and self._confirmed.get(work.index) is work.change

    async def verify(self, done: Sequence[Done]) -> None:
        """Verify writes that the store has confirmed: with those of the batch, or by reading them now. Raises StoreError,
        StateDirError."""
        if self._is_deferring:
            self._done |= {pair[0].index: pair for pair in done}
        else:
            await self._read_back.verify(done)

    def defers(self, work: PendingStep) -> bool:
        """True if the store has confirmed the write, and the batch still has to verify it."""
        return work.index in self._done

    async def end_call(self) -> None:
        """Finish after the last call of the batch. Raises StateDirError."""
        self._calls_left -= 1
        if not self._calls_left:
            await self.finish()

    async def finish(self) -> None:
        """Verify what has not been verified yet; if nothing more may be sent, the word of the store counts. Raises
        StateDirError."""
        async with self._scanning:
            if not self._done:
                return
            if self._access.halt():
                self._read_back.trust(self._taken())
                return
            await self._scan()
            try:
                await self._read_back.verify(self._taken())
            except StoreError as error:
                self._access.report(error)

    @property
    def _is_fresh(self) -> bool:
        return self._begun_at is not None and self._access.clock.monotonic() - self._begun_at < FRESH_SECONDS

    def _taken(self) -> list[Done]:
        done, self._done = list(self._done.values()), {}
        return done

    async def _scan(self) -> None:
        """Confirm what is to be written and what was written. What the store does not show, or shows too slowly, is read."""
        began_at, done = self._access.clock.monotonic(), list(self._done.values())
        ahead = [work for work in self._works if self._recorder.is_open(work) and not self.defers(work)]
        seen = await self._seen(ahead, [work for work, _ in done])
        if seen is None:
            self._is_checking = self._is_deferring = False
            return
        self._is_checking = self._access.clock.monotonic() - began_at <= _LONGEST_SCAN
        self._begun_at = began_at
        self._confirmed = {work.index: work.change for work in ahead if self._is_as_planned(work, seen)}
        self._close(done, seen)

    async def _seen(
        self, ahead: Sequence[PendingStep], written: Sequence[PendingStep]
    ) -> Mapping[Identity, Actual] | None:
        absent = [work.identity for work in ahead if work.change.before is None]
        absent += [work.identity for work in written if work.is_delete]
        present = [work.identity for work in ahead if work.change.before is not None]
        present += [work.identity for work in written if not work.is_delete]
        return await self._access.scan(self._signer, absent, present)

    def _is_as_planned(self, work: PendingStep, seen: Mapping[Identity, Actual]) -> bool:
        return is_confirmed(work.change.before, seen.get(work.identity), self._capabilities, self._hints)

    def _close(self, done: Sequence[Done], seen: Mapping[Identity, Actual]) -> None:
        """Close what the scan shows as it was written; anything else is read at the end."""
        closed = [
            (work, result)
            for work, result in done
            if work.sent is not None
            and is_written(work.sent, result.etag, seen.get(work.identity), self._capabilities, self._hints)
        ]
        self._recorder.close([StepResult(work, OutcomeKind.APPLIED, etag=result.etag) for work, result in closed])
        for work, _ in closed:
            del self._done[work.index]
