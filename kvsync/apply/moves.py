"""Moves: the old key is deleted only after the new key was read back, so readers never see a gap."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from kvsync.apply.model import PendingStep
from kvsync.apply.outcomes import OutcomeRecorder, StepResult
from kvsync.apply.read_back import fingerprint_of
from kvsync.apply.store_access import StoreAccess
from kvsync.errors import StoreError
from kvsync.model.capabilities import Marks
from kvsync.model.change import OutcomeKind
from kvsync.model.entry import Actual, Identity, Target
from kvsync.planning.marks import MarkSigner
from kvsync.stores.pacing import Stopped

_DONE = (OutcomeKind.APPLIED, OutcomeKind.UNCHANGED)


class MoveGuard:
    """Decides which deletes can be sent. `written` are the steps of the same run that write entries."""

    def __init__(
        self, access: StoreAccess, recorder: OutcomeRecorder, signer: MarkSigner, written: Sequence[PendingStep]
    ) -> None:
        self._access, self._recorder, self._signer = access, recorder, signer
        self._written = {work.identity: work for work in written}

    async def ready(self, deletes: Sequence[PendingStep]) -> list[PendingStep]:
        """The deletes that are not half of a move, or whose new entry exists; the others end as `skipped`."""
        halves = [work for work in deletes if work.change.moved_to is not None]
        if not halves:
            return list(deletes)
        try:
            reasons = await self._reasons(halves)
        except Stopped:
            return []
        except StoreError as error:
            self._access.report(error)
            reasons = {work.index: str(error) for work in halves}
        self._recorder.close(
            [
                StepResult(
                    work,
                    OutcomeKind.SKIPPED,
                    f"kept, because its new name {work.change.new_name} {reasons[work.index]}",
                )
                for work in halves
                if work.index in reasons
            ]
        )
        return [work for work in deletes if work.index not in reasons]

    async def _reasons(self, halves: Sequence[PendingStep]) -> dict[int, str]:
        """Why the new name cannot be relied on, by index of the step; steps whose new entry exists are left out."""
        elsewhere = [work for work in halves if work.change.moved_to_target is not None]
        here = [work for work in halves if work.change.moved_to_target is None]
        return await self._reasons_elsewhere(elsewhere) | (await self._reasons_here(here) if here else {})

    async def _reasons_elsewhere(self, halves: Sequence[PendingStep]) -> dict[int, str]:
        """The same for names in other targets."""
        by_target: defaultdict[Target, dict[int, Identity]] = defaultdict(dict)
        for work in halves:
            if work.change.moved_to_target is not None and work.change.moved_to is not None:
                by_target[work.change.moved_to_target][work.index] = work.change.moved_to
        reasons: dict[int, str] = {}
        for target, names in by_target.items():
            missing = await self._access.missing(target, list(dict.fromkeys(names.values())))
            reasons |= {index: missing[name] for index, name in names.items() if name in missing}
        return reasons

    async def _reasons_here(self, halves: Sequence[PendingStep]) -> dict[int, str]:
        """The same for names in the target itself."""
        new_names = {work.change.moved_to for work in halves}
        fresh = await self._access.read([identity for identity in new_names if identity is not None])
        reasons = {}
        for work in halves:
            assert work.change.moved_to is not None
            reason = await self._reason(work, work.change.moved_to, fresh.get(work.change.moved_to))
            if reason is not None:
                reasons[work.index] = reason
        return reasons

    async def _reason(self, work: PendingStep, new_name: Identity, found: Actual | None) -> str | None:
        written = self._written.get(new_name)
        if written is None:
            settled = await self._access.replan(new_name, work.approved) is None
            return self._owned_by_others(found) if settled else "differs from the files"
        outcome = self._recorder.outcome(written)
        if outcome is None or outcome.kind not in _DONE:
            return "could not be written"
        after = written.approved.after
        if found is None or after is None or fingerprint_of(found) != after.fingerprint:
            return "was missing when it was read back"
        return self._owned_by_others(found)

    def _owned_by_others(self, found: Actual | None) -> str | None:
        """Why an entry under the new name does not count; None if it is ours, or if the store has no marks."""
        if found is None or self._access.capabilities.marks is not Marks.STORE:
            return None
        if found.mark is None:
            return "has no owner"
        if self._signer.claims(found):
            return None
        is_copy = found.mark.owner == self._signer.owner
        return "is a copy from another place" if is_copy else f"belongs to owner {found.mark.owner!r}"
