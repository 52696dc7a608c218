"""Records which targets of the waves are in sync, for other processes too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final

from kvsync.desired import DesiredState
from kvsync.model.change import Change, OutcomeKind
from kvsync.model.entry import Identity, Mode, Target
from kvsync.model.pass_options import PassOptions
from kvsync.model.plan import TargetPlan, TargetReport
from kvsync.planning.waves import APPLYING, Wave, WaveRecord, is_never_held, wave_digest, wave_of
from kvsync.rendering.words import counts
from kvsync.util.values import dataclass

if TYPE_CHECKING:
    from kvsync.state import StateDir
    from kvsync.stores.base import Store

_DONE: Final = frozenset({OutcomeKind.APPLIED, OutcomeKind.UNCHANGED})
_IN_PART: Final = "only a part of its changes was applied"


@dataclass(frozen=True, slots=True)
class _Planned:
    """Inputs of a plan: the digest of what the files ask, and the number of its changes. `is_whole`: it is about all
    entries of the target."""

    digest: str
    changes: int
    is_whole: bool


class SyncRecords:
    """Keeps the record of each target that is in a wave, by what the passes of this process found and did. All methods may
    raise StateDirError, and ClaimLost when another replica has taken the target. `changed` gets the target of each new
    record."""

    def __init__(
        self,
        waves: Sequence[Wave],
        state: StateDir,
        stores: Mapping[str, Store],
        changed: Callable[[Target], None],
    ) -> None:
        self._waves, self._state, self._stores, self._changed = waves, state, stores, changed
        self._planned: dict[Target, _Planned] = {}
        self._digests: dict[Target, tuple[str, str]] = {}

    def planned(self, plan: TargetPlan, files: DesiredState, ask: PassOptions) -> None:
        """Record what a pass that may write found. A plan whose store or files have problems shows nothing."""
        self._planned.pop(plan.target, None)
        desired = files.targets.get(plan.target)
        if not self._waves or desired is None or not plan.complete or plan.problems or plan.error:
            return
        is_whole = not (ask.keys or ask.releases)
        planned = _Planned(self.digest(plan.target, files), len(plan.changes), is_whole)
        self._planned[plan.target] = planned
        if is_whole and self._is_awaited(plan.target):
            self._put(plan.target, planned.digest, self._pending(plan))

    def begin(self, plan: TargetPlan) -> None:
        """Record that changes are about to be sent, on the disk: a run that is killed leaves the later waves held."""
        planned = self._planned.get(plan.target)
        if planned is not None and self._is_awaited(plan.target) and self.holdable(plan):
            self._put(plan.target, planned.digest, APPLYING, durable=True)

    def finish(self, reports: Iterable[TargetReport]) -> None:
        """Record what became of plans that may have been applied."""
        for report in reports:
            planned = self._planned.get(report.plan.target)
            if planned is not None and report.plan.changes:
                self._finish(report, planned)

    def reopen(self, target: Target, reason: str) -> None:
        """Record, on the disk, that a target is about to be changed to something else than the files ask."""
        known = self._state.waves.find(target)
        if known is not None and self._waves:
            self._put(target, known.digest, reason, durable=True)

    def remove_others(self, files: DesiredState) -> None:
        """Forget the targets that are in no wave any more, or of which nothing has to be known."""
        records = self._state.waves
        records.remove(
            [target for target, record in records.all().items() if not self._is_needed(target, record, files)]
        )

    def holdable(self, plan: TargetPlan) -> frozenset[Identity]:
        """The entries of the changes that a wave may hold back."""
        return frozenset(one.identity for one in self._holdable(plan))

    def digest(self, target: Target, files: DesiredState) -> str:
        """What the files ask of a target, worked out once for each change of it."""
        desired = files.targets[target]
        known = self._digests.get(target)
        if known is None or known[0] != desired.digest:
            place = self._stores[target.store].place(target.namespace)
            found = wave_digest(desired, place, self._state.digest_key)
            known = self._digests[target] = (desired.digest, found)
        return known[1]

    def _finish(self, report: TargetReport, planned: _Planned) -> None:
        target = report.plan.target
        if not self._is_awaited(target):
            self._put_waiting(target, planned.digest, report.early)
        elif planned.is_whole and planned.changes == len(report.plan.changes):
            failure = report.early or _failure(report)
            self._put(target, planned.digest, failure, has_written=self._has_written(report))
        else:
            self._put(target, planned.digest, _IN_PART)

    def _is_needed(self, target: Target, record: WaveRecord, files: DesiredState) -> bool:
        is_in_a_wave = bool(self._waves) and target in files.managed
        return is_in_a_wave and (record.failure is not None or self._is_awaited(target))

    def _is_awaited(self, target: Target) -> bool:
        """True for a target of a wave that may have a next one."""
        return wave_of(target, self._waves) < len(self._waves)

    def _holdable(self, plan: TargetPlan) -> list[Change]:
        capabilities = self._stores[plan.target.store].capabilities
        return [one for one in plan.changes if not is_never_held(one, capabilities)]

    def _pending(self, plan: TargetPlan) -> str | None:
        """Why a target that was planned is not in sync. What moves to another target leaves only once it has arrived there,
        which may be in a later wave. Entries that are only observed may differ."""
        changes = sum(one.moved_to_target is None for one in self._holdable(plan))
        reported = sum(not _is_observed(one) for one in plan.reported)
        left = ((changes, "pending"), (len(plan.refused), "refused"), (reported, "reported"))
        reasons = f" ({'; '.join(plan.parked)})" if plan.parked else ""
        return f"{counts(left)}{reasons}" if any(number for number, _ in left) or reasons else None

    def _put_waiting(self, target: Target, digest: str, reason: str | None) -> None:
        """Record for `kvsync status` that a target of the last wave waits, or no longer does."""
        if reason is not None:
            self._put(target, digest, reason)
        elif self._state.waves.find(target) is not None:
            self._state.waves.remove([target])

    def _put(
        self, target: Target, digest: str, failure: str | None, *, has_written: bool = False, durable: bool = False
    ) -> None:
        """Record how a target is. It has been in sync since it was last written to, or since it became so."""
        records = self._state.waves
        known = records.find(target)
        is_as_before = known is not None and not has_written and (known.failure is None) == (failure is None)
        since = known.since if known is not None and is_as_before else records.now()
        record = WaveRecord(digest, since, failure)
        if record != known:
            with self._claimed(target):
                records.put(target, record, durable=durable)
            self._changed(target)

    def _claimed(self, target: Target) -> AbstractContextManager[None]:
        claims = self._state.claims
        return nullcontext() if claims is None else claims.within(target)

    def _has_written(self, report: TargetReport) -> bool:
        written = {one.identity for one in report.outcomes if one.kind is OutcomeKind.APPLIED}
        return not written.isdisjoint(self.holdable(report.plan))


def _is_observed(change: Change) -> bool:
    return change.after is not None and change.after.mode is Mode.OBSERVE


def _failure(report: TargetReport) -> str | None:
    """Why a target is not in sync after its plan was applied; None if it is."""
    plan = report.plan
    aside = {one.identity for one in plan.changes if one.moved_to_target is not None}
    aside |= {one.identity for one in plan.reported if _is_observed(one)}
    left = Counter(one.kind.value for one in report.outcomes if one.kind not in _DONE and one.identity not in aside)
    if left:
        reasons = f" ({'; '.join(plan.parked)})" if plan.parked else ""
        return f"{counts((number, kind) for kind, number in sorted(left.items()))}{reasons}"
    return report.error
