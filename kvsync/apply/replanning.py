"""Plans entries again that another writer changed between the plan and the write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kvsync.apply.model import PendingStep
from kvsync.apply.outcomes import OutcomeRecorder, StepResult
from kvsync.apply.read_back import describe, has_landed, is_same_change
from kvsync.apply.store_access import StoreAccess
from kvsync.errors import TransientError
from kvsync.model.change import Change, OutcomeKind, Refusal
from kvsync.model.entry import Actual, Identity

MOST_TRIES = 5
"""How often one entry is planned again because it changed, before it is left to the other writer."""

MOVED = "another writer changed it after the plan was made ({what}); run plan again"
_RESTLESS = f"another writer changed it {MOST_TRIES + 1} times while it was being applied; stop it, then run plan again"


class Replanner:
    """Decides for each entry that has changed: the same change against the current version, or its result."""

    def __init__(self, access: StoreAccess, recorder: OutcomeRecorder) -> None:
        self._access, self._recorder = access, recorder
        self._capabilities = access.capabilities

    async def replan_each(
        self, works: Sequence[PendingStep], fresh: Mapping[Identity, Actual]
    ) -> list[list[PendingStep]]:
        """Plan entries again that `fresh` shows to have changed; returns those that are to be sent again, each alone."""
        again: list[list[PendingStep]] = []
        for work in works:
            found = fresh.get(work.identity)
            if has_landed(work, found, self._capabilities):
                self._recorder.close([landed(work, found)])
            elif await self.replan(work):
                again.append([work])
        return again

    async def replan(self, work: PendingStep) -> bool:
        """Plan one entry again that another writer changed; True if the result is the same change, now against the current
        version."""
        work.tries += 1
        if work.tries > MOST_TRIES:
            self._recorder.close([StepResult(work, OutcomeKind.CONFLICT, _RESTLESS)])
            return False
        if work.fixed is not None:
            self._recorder.close(
                [StepResult(work, OutcomeKind.CONFLICT, MOVED.format(what="it differs from what was read"))]
            )
            return False
        try:
            verdict = await self._access.replan(work.identity, work.approved)
        except TransientError as error:
            self._recorder.close([StepResult(work, OutcomeKind.FAILED, str(error))])
            return False
        if isinstance(verdict, Change) and is_same_change(work.approved, verdict):
            work.renew(verdict)
            return True
        is_ours, found = await self._is_landed(work) if verdict is None else (False, None)
        self._recorder.close([landed(work, found) if is_ours else _overtaken(work, verdict)])
        return False

    async def _is_landed(self, work: PendingStep) -> tuple[bool, Actual | None]:
        """Whether kvsync itself wrote an entry that is as desired, and the entry: a proxy may have sent the request twice, and
        returned the response to the second one."""
        if work.sent is None:
            return False, None
        try:
            found = (await self._access.read([work.identity])).get(work.identity)
        except TransientError:
            return False, None
        return has_landed(work, found, self._capabilities), found


def landed(work: PendingStep, found: Actual | None) -> StepResult:
    """The result of a write that a read has confirmed. Like every read, it may be late."""
    work.lost = True
    return StepResult(work, OutcomeKind.APPLIED, etag=found.etag if found is not None else None)


def _overtaken(work: PendingStep, verdict: Change | Refusal | None) -> StepResult:
    if verdict is None:
        return StepResult(work, OutcomeKind.UNCHANGED)
    if isinstance(verdict, Refusal):
        return StepResult(work, OutcomeKind.CONFLICT, MOVED.format(what=verdict.reason))
    return StepResult(work, OutcomeKind.CONFLICT, MOVED.format(what=describe(verdict.before)))
