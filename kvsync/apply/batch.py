"""Sends one write call to the store and turns its result into outcomes.

prepare    scan the batch, or read what must be known before writing; entries that changed since the plan are planned
           again, alone
intend     commit the intent to the journal, together with those of calls that are sent now, or of creates that are sent next
note       changes of the ledger alone                                               -> applied
send       one call of `Store.write`
  done         (read back if the store has no compare-and-set)                       -> applied
  conflict     plan that entry again: the same change is sent, at most 5 times       -> else conflict
  unknown      read back: written -> applied; unchanged -> send again                -> else conflict
               it cannot be read                                                     -> unknown
  rejected     -> failed, quarantined;   locked -> refused
  refused call -> two halves, until the bad entry is alone                           -> failed, quarantined
  no response  -> wait and send again; lost response -> as unknown
"""

from __future__ import annotations

from collections.abc import Sequence

from kvsync.apply.batch_check import BatchCheck
from kvsync.apply.model import PendingStep
from kvsync.apply.outcomes import OutcomeRecorder, StepResult
from kvsync.apply.preparation import Preparation, SplitSteps, close_unread
from kvsync.apply.read_back import describe, has_landed, is_untouched
from kvsync.apply.replanning import MOVED, Replanner, landed
from kvsync.apply.store_access import StoreAccess
from kvsync.apply.writes import halves, write_for
from kvsync.errors import BatchRefused, LostAnswer, NotLeader, StoreError, TransientError, UnexpectedError
from kvsync.model.capabilities import Marks
from kvsync.model.change import OutcomeKind
from kvsync.planning.ledger_only import is_ledger_only
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Write, WriteResult, WriteStatus
from kvsync.stores.pacing import Stopped
from kvsync.stores.partial import PartialRead

_LOST = "the response of the store was lost, so the entry may or may not have been written; the next run checks it"


class BatchSender:
    """Sends the steps of one call until each has its outcome."""

    def __init__(self, access: StoreAccess, recorder: OutcomeRecorder, signer: MarkSigner, check: BatchCheck) -> None:
        self._access, self._recorder, self._signer, self._check = access, recorder, signer, check
        self._capabilities = has = access.capabilities
        self._reads_back = not has.compare_and_set and has.settle == 0
        self._replanner = Replanner(access, recorder)
        self._preparation = Preparation(access, recorder, self._replanner, check)

    async def run(self, works: list[PendingStep]) -> None:
        """Send until every step has its outcome or kvsync is asked to stop. Raises StateDirError."""
        parts = [works]
        while parts:
            part = parts.pop()
            try:
                await self._access.ready()
                ready, again = await self._preparation.prepare(part)
                if ready := await self._intend(ready):
                    if self._access.halt():
                        raise Stopped
                    try:
                        results = await self._access.store.write(self._access.namespace, list(map(_sent, ready)))
                    except StoreError as error:
                        again += await self._after_error(ready, error)
                    else:
                        again += await self._sort_results(ready, results)
                parts.extend(reversed(again))
            except Stopped:
                self._abandon([part, *parts])
                return
            except StoreError as error:
                self._access.report(error)
                self._close_open(part, OutcomeKind.FAILED, str(error))

    def _abandon(self, parts: SplitSteps) -> None:
        """Leave unsent steps for the next run, and close their intents in the journal."""
        works = [work for part in parts for work in part if work.recorded]
        reason = self._access.halt.reason
        self._close_open([work for work in works if work.lost], OutcomeKind.FAILED, f"{_LOST}; {reason}")
        self._close_open(works, OutcomeKind.NOT_ATTEMPTED, reason)

    def _close_open(self, works: Sequence[PendingStep], kind: OutcomeKind, error: str) -> None:
        self._recorder.close(
            [
                StepResult(work, kind, error, is_unknown=work.lost and kind is OutcomeKind.FAILED)
                for work in works
                if self._recorder.is_open(work) and not self._check.defers(work)
            ]
        )

    async def _after_error(self, sent: list[PendingStep], error: StoreError) -> SplitSteps:
        """Return the calls that must be sent again after a call that failed. Raises Stopped if nothing was sent because this
        replica may not write any more, and the error itself if there is nothing to send again."""
        match error:
            case NotLeader():
                raise Stopped from None
            case BatchRefused():
                return self._split(sent, error)
            case LostAnswer():
                return await self._recover(sent, error)
            case TransientError():
                await self._access.retries.wait(error)
                return [sent]
        for work in sent if isinstance(error, UnexpectedError) else ():
            work.lost = True
        raise error

    async def _intend(self, works: list[PendingStep]) -> list[PendingStep]:
        """Commit the intents of steps, and build their writes; returns the steps that must be sent. Raises StateDirError: then
        nothing may be sent."""
        if not works:
            return []
        await self._check.intend(works)
        now = self._access.clock.now()
        for work in works:
            work.sent = work.fixed or write_for(work.change, self._signer, now, self._capabilities)
        return self._note(works)

    def _note(self, works: list[PendingStep]) -> list[PendingStep]:
        """Close steps that change the ledger only; returns the steps that must be sent."""
        if self._capabilities.marks is not Marks.LEDGER:
            return works
        noted = [work for work in works if work.fixed is None and is_ledger_only(work.change, self._capabilities)]
        self._recorder.close([StepResult(work, OutcomeKind.APPLIED, etag=_etag_before(work)) for work in noted])
        return [work for work in works if self._recorder.is_open(work)]

    async def _sort_results(self, works: list[PendingStep], results: Sequence[WriteResult]) -> SplitSteps:
        """Count and sort the results of one call. Known ones are committed first, before the store is asked anything else."""
        self._access.count_results(results)
        known: list[StepResult] = []
        unread: list[tuple[PendingStep, WriteResult]] = []
        for work, result in zip(works, results, strict=True):
            ending = self._ending(work, result)
            if ending is not None:
                known.append(ending)
            else:
                unread.append((work, result))
        self._recorder.close(known)
        if not unread:
            return []
        self._recorder.flush()
        return await self._look_into(unread)

    def _ending(self, work: PendingStep, result: WriteResult) -> StepResult | None:
        """How a step ended, None if the store must be read to know."""
        match result.status:
            case WriteStatus.DONE if not self._reads_back:
                return StepResult(work, OutcomeKind.APPLIED, etag=result.etag)
            case WriteStatus.REJECTED:
                return StepResult(work, OutcomeKind.FAILED, result.error or "the store rejected it", quarantine=True)
            case WriteStatus.LOCKED:
                return StepResult(
                    work, OutcomeKind.REFUSED, result.error or "it is locked in the store; unlock it there"
                )
            case _:
                return None

    async def _look_into(self, unread: list[tuple[PendingStep, WriteResult]]) -> SplitSteps:
        done = [(work, result) for work, result in unread if result.status is WriteStatus.DONE]
        if done:
            await self._check.verify(done)
        unknown = [
            work
            for work, result in unread
            if result.status is WriteStatus.UNKNOWN or (_is_conflict(result) and work.lost)
        ]
        moved = [work for work, result in unread if _is_conflict(result) and not work.lost]
        again = [[work] for work in moved if await self._replanner.replan(work)]
        if unknown:
            again += await self._recover(unknown, TransientError("the store did not report the result"))
        return again

    async def _recover(self, works: list[PendingStep], error: TransientError) -> SplitSteps:
        """Find out what became of writes whose response was lost; returns those that did not happen, in smaller calls."""
        for work in works:
            work.lost = True
        try:
            fresh = await self._access.read([work.identity for work in works])
        except PartialRead as partial:
            fresh = partial.found
            close_unread(self._recorder, works, partial)
            works = [work for work in works if self._recorder.is_open(work)]
        except TransientError as blind:
            self._close_open(works, OutcomeKind.FAILED, f"{error}; reading it back failed too: {blind}")
            return []
        again: list[PendingStep] = []
        endings: list[StepResult] = []
        for work in works:
            found = fresh.get(work.identity)
            if has_landed(work, found, self._capabilities):
                endings.append(landed(work, found))
            elif is_untouched(work.change.before, found, self._capabilities):
                again.append(work)
            else:
                what = MOVED.format(what=describe(found))
                endings.append(StepResult(work, OutcomeKind.CONFLICT, what, is_unknown=True))
        self._recorder.close(endings)
        if not again:
            return []
        await self._access.retries.wait(error)
        return halves(again)

    def _split(self, works: list[PendingStep], error: BatchRefused) -> SplitSteps:
        if len(works) > 1:
            return halves(works)
        self._recorder.close([StepResult(works[0], OutcomeKind.FAILED, str(error), quarantine=True)])
        return []


def _sent(work: PendingStep) -> Write:
    assert work.sent is not None, "a write is built before its step is sent"
    return work.sent


def _is_conflict(result: WriteResult) -> bool:
    return result.status is WriteStatus.CONFLICT


def _etag_before(work: PendingStep) -> str | None:
    return work.change.before.etag if work.change.before is not None else None
