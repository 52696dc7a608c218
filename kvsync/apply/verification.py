"""Reads entries back after their writes, one by one, in stores without compare-and-set."""

from __future__ import annotations

from collections.abc import Sequence

from kvsync.apply.model import PendingStep
from kvsync.apply.outcomes import OutcomeRecorder, StepResult
from kvsync.apply.read_back import describe, is_held, is_untouched
from kvsync.apply.store_access import StoreAccess
from kvsync.errors import StoreError, TransientError
from kvsync.model.change import OutcomeKind
from kvsync.model.entry import Actual
from kvsync.stores.base import WriteResult
from kvsync.stores.pacing import Stopped
from kvsync.stores.partial import PartialRead

_OVERTAKEN = "another writer changed it right after kvsync wrote it ({what}); run plan again"
_UNSEEN = "the store confirmed the write, but reading it back shows the entry as it was before; the next run checks it"

Done = tuple[PendingStep, WriteResult]
"""A step whose write the store has confirmed."""


class ReadBack:
    """Closes confirmed steps by what the store shows afterwards."""

    def __init__(self, access: StoreAccess, recorder: OutcomeRecorder) -> None:
        self._access, self._recorder = access, recorder

    async def verify(self, done: Sequence[Done]) -> None:
        """Read entries back after a write, if nothing else confirms that they were written. Raises StoreError,
        StateDirError."""
        if not done:
            return
        try:
            fresh = await self._access.read([work.identity for work, _ in done])
        except PartialRead as partial:  # the store said that those are written; the next pass looks again
            fresh = partial.found
            blind = [pair for pair in done if pair[0].identity in partial.failed]
            self.trust(blind)
            done = [pair for pair in done if pair not in blind]
        except (StoreError, Stopped) as error:  # The store said that it is written; the next pass looks again.
            self.trust(done)
            if isinstance(error, TransientError | Stopped):
                return
            raise
        self._recorder.close([self._verified(work, result, fresh.get(work.identity)) for work, result in done])

    def trust(self, done: Sequence[Done]) -> None:
        """Close steps by the confirmation of the store alone. Raises StateDirError."""
        self._recorder.close([StepResult(work, OutcomeKind.APPLIED, etag=result.etag) for work, result in done])

    def _verified(self, work: PendingStep, result: WriteResult, found: Actual | None) -> StepResult:
        capabilities = self._access.capabilities
        if work.sent is not None and is_held(work.sent, found, capabilities):
            return StepResult(work, OutcomeKind.APPLIED, etag=found.etag if found is not None else result.etag)
        if is_untouched(work.change.before, found, capabilities):
            return StepResult(work, OutcomeKind.FAILED, _UNSEEN, etag=result.etag, is_done=True, is_unknown=True)
        what = _OVERTAKEN.format(what=describe(found))
        return StepResult(work, OutcomeKind.CONFLICT, what, etag=result.etag, is_done=True)
