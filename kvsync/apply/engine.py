"""Apply engine for one target: creates and updates first, then deletes, then the entries that must be written last."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from kvsync.apply.batch import BatchSender
from kvsync.apply.batch_check import BatchCheck
from kvsync.apply.model import ApplyReport, PendingStep, Step
from kvsync.apply.moves import MoveGuard
from kvsync.apply.order import WriteOrder
from kvsync.apply.outcomes import OutcomeRecorder, StepResult
from kvsync.apply.ports import RunPort
from kvsync.apply.restore_point import make_restore_point
from kvsync.apply.store_access import ApplierOptions, StopCondition, StoreAccess
from kvsync.apply.writes import batches_of
from kvsync.errors import TransientError
from kvsync.model.capabilities import Capabilities
from kvsync.model.change import OutcomeKind
from kvsync.model.entry import Actual, Identity
from kvsync.model.place import LocatedTarget
from kvsync.planning.marks import MarkSigner
from kvsync.state.deletions import DeletionGrant
from kvsync.stores.base import Store
from kvsync.stores.extensions import version_hints
from kvsync.stores.pacing import ConcurrencyLimiter, Stopped
from kvsync.util.background import off_loop
from kvsync.util.clock import Clock

Calls = deque[tuple[BatchCheck, list[PendingStep]]]
"""Calls that must still be sent, with the check of the batch that each belongs to."""


class Applier:
    """Applies changes to one target of one store, and writes the journal of one run."""

    def __init__(
        self,
        store: Store,
        located: LocatedTarget,
        signer: MarkSigner,
        run: RunPort,
        clock: Clock,
        options: ApplierOptions,
    ) -> None:
        self.signer = signer
        self._store, self._located, self._run, self._clock, self._options = store, located, run, clock, options
        self._pace = options.pace or ConcurrencyLimiter.of(store.capabilities, options.concurrency)

    async def run(self, steps: Sequence[Step]) -> ApplyReport:
        """Apply changes of distinct entries; outcomes come in their order. Raises StateDirError if the journal fails: then
        nothing was sent whose intent is not recorded."""
        recorder = OutcomeRecorder(self._store, self._located, self._run, steps, self._options.progress, self._clock)
        halt = self._halt()
        with recorder.flushed_on_failure():
            if steps:
                await make_restore_point(self._store, self._located.target, self._run, self._access(halt))
            works, order = await off_loop(partial(_ordered, steps, recorder), len(steps))
            for stage in order.stages():
                if halt():
                    break
                await self._send_stage(stage, recorder, halt)
            deletes, grant = order.deletes, None
            if deletes and not halt():
                written = [work for work in works if not work.is_delete]
                deletes = await MoveGuard(self._access(halt), recorder, self.signer, written).ready(deletes)
                grant = await self._delete(deletes, recorder, halt)
            if order.last and not halt():
                await self._send_stage(order.ready_last(), recorder, halt)
            recorder.flush()
            waiting = 0 if grant is None else len(deletes) - grant.granted
            return replace(_report(recorder, halt), deletes_waiting=waiting, grant=grant)

    async def _delete(
        self, deletes: Sequence[PendingStep], recorder: OutcomeRecorder, halt: StopCondition
    ) -> DeletionGrant | None:
        """Send as many deletes as are granted; the others wait."""
        if self._options.deletions is None or not deletes:
            await self._send_stage(deletes, recorder, halt)
            return None
        grant = self._options.deletions.take(len(deletes))
        waits = f"waits: {grant.budget.why()}"
        recorder.close([StepResult(work, OutcomeKind.NOT_ATTEMPTED, waits) for work in deletes[grant.granted :]])
        await self._send_stage(deletes[: grant.granted], recorder, halt)
        # Where this is not reached, the run was killed or its journal failed, and all of the grant counts as used.
        self._options.deletions.settle(grant, sum(map(recorder.may_be_written, deletes[: grant.granted])))
        return grant

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of the store."""
        return self._store.capabilities

    async def read(self, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        """Read entries, with the retries of a write. Raises StoreError; if kvsync is asked to stop while the store makes it
        wait, TransientError."""
        try:
            return await self._access(self._halt()).read(identities)
        except Stopped:
            raise TransientError("kvsync was stopped while waiting for the store") from None

    async def _send_stage(self, works: Sequence[PendingStep], recorder: OutcomeRecorder, halt: StopCondition) -> None:
        batches = await off_loop(partial(self._batches, works, recorder, halt), len(works))
        calls = deque((batch, call) for batch in batches for call in batch.calls)
        workers = [self._send_calls(calls, recorder, halt) for _ in range(min(len(calls), self._pace.most))]
        # All are waited for, so that a failing journal lets the calls in flight come back before the error is raised.
        for result in await asyncio.gather(*workers, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        for batch in batches:
            await batch.finish()
        recorder.close_unsent(works, halt.reason)
        recorder.flush()

    def _batches(
        self, works: Sequence[PendingStep], recorder: OutcomeRecorder, halt: StopCondition
    ) -> list[BatchCheck]:
        hints = version_hints(self._store)
        return [
            BatchCheck(self._access(halt), recorder, self.signer, calls, hints)
            for calls in batches_of(works, self._store.capabilities)
        ]

    async def _send_calls(self, calls: Calls, recorder: OutcomeRecorder, halt: StopCondition) -> None:
        while calls and not halt():
            async with self._pace.slot():
                if not calls:
                    return
                batch, call = calls.popleft()
                try:
                    await BatchSender(self._access(halt), recorder, self.signer, batch).run(call)
                    await batch.end_call()
                    await asyncio.sleep(0)  # others have their turn between what two calls leave in the journal
                except BaseException:
                    halt.is_broken = True
                    raise

    def _halt(self) -> StopCondition:
        return StopCondition(self._options.stop, self._store.context.fence, self._options.time)

    def _access(self, halt: StopCondition) -> StoreAccess:
        return StoreAccess(self._store, self._located.target, halt, self._pace, self._clock, self._options)


def _report(recorder: OutcomeRecorder, halt: StopCondition) -> ApplyReport:
    """The report, which says that the pass took too long if that is why steps were not sent."""
    report, overdue = recorder.report(halt.store_error, halt.reason), halt.overdue
    if overdue is None or report.store_error is not None:
        return report
    is_cut_short = any(one.kind is OutcomeKind.NOT_ATTEMPTED for one in report.outcomes)
    return replace(report, store_error=overdue) if is_cut_short else report


def _ordered(steps: Sequence[Step], recorder: OutcomeRecorder) -> tuple[list[PendingStep], WriteOrder]:
    works = [PendingStep(index, step) for index, step in enumerate(steps)]
    return works, WriteOrder(works, recorder)
