"""Waves of a workspace: applies earlier waves first, and holds the targets that must wait for one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kvsync.app.wave_records import SyncRecords
from kvsync.app.wave_wait import WaveWait
from kvsync.desired import DesiredState
from kvsync.model.entry import Target
from kvsync.model.plan import TargetPlan, TargetReport
from kvsync.model.wave import WavePosition
from kvsync.planning.permit import PermitInputs, hold_of
from kvsync.planning.waves import (
    WaveFacts,
    WaveHold,
    members_of,
    probe_hold,
    wave_count,
    wave_hold,
    wave_of,
)
from kvsync.reconcile import withheld
from kvsync.rendering.words import moment
from kvsync.util.values import dataclass

if TYPE_CHECKING:
    from kvsync.app.probes import Probes
    from kvsync.config.model import Config
    from kvsync.reconcile import PassContext
    from kvsync.stores.base import Store

LOOK_AGAIN: Final = 30.0
"""Seconds after which a daemon plans a held target again while an earlier wave is in progress or a probe fails."""

LOOK_LATER: Final = 300.0
"""The same while an earlier wave has failed."""


TRUST: Final = 1.0
"""Seconds for which an answer is used again unless this process records something that may change it: each target of a wave
asks, and working it out takes time in proportion to the targets of the earlier waves."""


@dataclass(frozen=True, slots=True)
class _KnownHold:
    """Why a wave must wait, None if it need not; since when the earlier waves have been as they are (by the steady timeline);
    by which files that was worked out, and when (monotonic)."""

    hold: WaveHold | None
    since: float
    files: DesiredState | None
    at: float


@dataclass(frozen=True, slots=True)
class HeldPart:
    """What of a plan may be applied now, and why the rest may not."""

    permitted: TargetPlan
    hold: WaveHold | None

    def unless(self, denied: str | None) -> HeldPart:
        """The same, or nothing of the plan for the reason given."""
        if denied is None:
            return self
        return HeldPart(replace(self.permitted, changes=(), deletes_namespace=False), WaveHold(denied))


class Waves:
    """Knows which targets of a workspace wait for which. All methods may raise StateDirError."""

    def __init__(self, config: Config, pass_context: PassContext, stores: Mapping[str, Store]) -> None:
        self._waves, self._state = config.waves, pass_context.state
        self.records = SyncRecords(config.waves, pass_context.state, stores, self._changed)
        self._root, self._clock = config.root, pass_context.clock
        self.waiting = WaveWait()
        """How long `wait` may take; no time at all unless a command sets it."""
        self._probes: Probes | None = None
        self._files: DesiredState | None = None
        self._members: Mapping[int, Sequence[Target]] = {}
        self._known: dict[int, _KnownHold] = {}
        self._to_remove = True

    def use(self, files: DesiredState) -> None:
        """Judge by these files from now on: they have the targets of all shards."""
        if self._waves:
            self._files, self._members = files, members_of(files.managed, self._waves)
        self._to_remove = True

    def remove_others(self, files: DesiredState) -> None:
        """Once for each reading of the files, forget the targets that no wave waits for any more. `files` are those of this
        shard."""
        if self._to_remove and not files.hold_all:
            self.records.remove_others(self._files or files)
            self._to_remove = False

    def stages(self, plans: Iterable[TargetPlan]) -> Iterator[list[TargetPlan]]:
        """Plans by wave, the first wave first."""
        waves: dict[int, list[TargetPlan]] = {}
        for plan in plans:
            waves.setdefault(wave_of(plan.target, self._waves), []).append(plan)
        yield from (waves[index] for index in sorted(waves))

    async def permitted(self, stage: Sequence[TargetPlan]) -> list[HeldPart]:
        """What may be applied now of the plans of one wave. Asks the probes, if nothing else is in the way."""
        if not self._waves or not any(map(self._may_wait, stage)):
            return [HeldPart(plan, None) for plan in stage]
        own = wave_of(stage[0].target, self._waves)
        known = self._find(own)
        hold = known.hold
        if hold is None and own:
            failures = await self._failed_probes(own, known.since)
            total = wave_count(self._waves, self._members)
            hold = self._find(own).hold or probe_hold(own, self._waves, total, failures)
        return [self._part(plan, hold) for plan in stage]

    async def wait(self, parts: Sequence[HeldPart], stop: Callable[[], bool]) -> bool:
        """Wait until the plans of a wave may be looked at again. False if no wait that is short enough may change anything."""
        hold = next((part.hold for part in parts if part.hold is not None), None)
        if hold is None or not self.waiting.left:
            return False
        if hold.until is not None:
            seconds = hold.until - self._state.waves.now()
        elif hold.is_moving and (hold.target is None or self._state.is_shared):
            seconds = min(LOOK_AGAIN, self.waiting.left)
        else:  # only this process could change it
            return False
        reason = self._text(hold).removeprefix("waits for ")
        return await self.waiting.until(max(seconds, 0.0), reason, self._clock, stop)

    def earlier(self, plans: Iterable[TargetPlan], own: TargetPlan) -> list[Target]:
        """The targets of the plans that are in an earlier wave than `own`."""
        index = wave_of(own.target, self._waves)
        return [plan.target for plan in plans if wave_of(plan.target, self._waves) < index]

    @property
    def files(self) -> DesiredState | None:
        """The files that waves are judged by; None without waves."""
        return self._files

    def begin(self, parts: Iterable[HeldPart]) -> None:
        """Record that the permitted parts of plans are about to be applied."""
        for part in parts:
            self.records.begin(part.permitted)

    def whole(self, plan: TargetPlan, part: HeldPart, done: TargetReport | None) -> TargetReport:
        """The report of a whole plan of which a part may have been applied."""
        if part.hold is None:
            return self._as_applied(plan, done)
        going = {change.identity for change in part.permitted.changes}
        rest = replace(plan, changes=tuple(one for one in plan.changes if one.identity not in going))
        placed = self._placed(plan, part.hold)
        reason = self._text(part.hold)
        report = withheld(rest, reason)
        applied = () if done is None else tuple(one for one in done.outcomes if one.identity in going)
        error, ends = (None, None) if done is None else (done.error, done.waits_until)
        moments = [one for one in (ends, self._again(part.hold)) if one is not None]
        outcomes = applied + report.outcomes
        return TargetReport(placed, outcomes, error, waits_until=min(moments, default=None), early=reason)

    def _as_applied(self, plan: TargetPlan, done: TargetReport | None) -> TargetReport:
        """The report of a plan of which nothing waits."""
        report = done or withheld(plan, "")
        return replace(report, plan=self._placed(report.plan, None)) if self._waves else report

    def marked(self, plans: Sequence[TargetPlan]) -> tuple[TargetPlan, ...]:
        """The plans, each with its wave, and with what it must wait for if it has changes. Asks no probe."""
        if not self._waves:
            return tuple(plans)
        holds = {own: self._find(own).hold for own in {wave_of(plan.target, self._waves) for plan in plans}}
        return tuple(
            self._placed(plan, holds[wave_of(plan.target, self._waves)] if self._may_wait(plan) else None)
            for plan in plans
        )

    def _part(self, plan: TargetPlan, hold: WaveHold | None) -> HeldPart:
        if hold_of(PermitInputs(is_early=self._may_wait(plan) and hold is not None)) is None:
            return HeldPart(plan, None)
        late = self.records.holdable(plan)
        # An approval covers the whole of a parked plan, so that nothing of it is applied before all may be.
        kept = () if plan.parked else tuple(one for one in plan.changes if one.identity not in late)
        return HeldPart(replace(plan, changes=kept, deletes_namespace=False), hold)

    def _may_wait(self, plan: TargetPlan) -> bool:
        """Whether a wave may hold back something of a plan."""
        return plan.deletes_namespace or bool(self.records.holdable(plan))

    async def _failed_probes(self, own: int, since: float) -> Mapping[int, str]:
        """Why probes fail, by wave: those of the wave with the index `own`, and of the waves before it, which were last written
        to at `since`."""
        asked = {index: wave for index, wave in enumerate(self._waves[: own + 1]) if wave.probe is not None}
        if not asked:
            return {}
        if self._probes is None:
            from kvsync.app.probes import Probes  # who has no probe does not pay for it

            self._probes = Probes(self._root, self._clock, self._state.waves.now)
        return await self._probes.failures(asked, since)

    def _placed(self, plan: TargetPlan, hold: WaveHold | None) -> TargetPlan:
        number = wave_of(plan.target, self._waves) + 1
        total = wave_count(self._waves, self._members)
        if hold is None:
            return replace(plan, wave=WavePosition(number, total))
        until = None if hold.until is None else self._state.waves.to_wall_clock(hold.until)
        return replace(plan, wave=WavePosition(number, total, self._text(hold), until))

    def _text(self, hold: WaveHold) -> str:
        """Why a target waits, for people."""
        until = "" if hold.until is None else f" until {moment(self._state.waves.to_wall_clock(hold.until))}"
        return f"{hold.reason}{until}"

    def _find(self, own: int) -> _KnownHold:
        """Why a wave must wait, whatever its probes say."""
        files, now = self._files, self._clock.monotonic()
        if own == 0 or files is None:
            hold = WaveHold("waits for the files to be read", is_moving=True) if own else None
            return _KnownHold(hold, 0, files, now)
        known = self._known.get(own)
        is_current = known is not None and known.files is files and now - known.at < TRUST
        if known is None or not is_current or _is_over(known.hold, self._state.waves.now()):
            known = self._known[own] = self._decide(own, files, now)
        return known

    def _decide(self, own: int, files: DesiredState, at: float) -> _KnownHold:
        awaited = [one for index in range(own) for one in self._members.get(index, ()) if one in files.targets]
        desired = {one: self.records.digest(one, files) for one in awaited if one not in files.held}
        records = self._state.waves.all()
        facts = WaveFacts(self._members, desired, records, self._state.waves.now())
        since = max((records[one].since for one in awaited if one in records), default=0.0)
        return _KnownHold(wave_hold(own, self._waves, facts), since, files, at)

    def _changed(self, target: Target) -> None:
        """Forget the answers that a new record of a target may change."""
        index = wave_of(target, self._waves)
        self._known = {own: known for own, known in self._known.items() if not _may_change(known, own, index, target)}

    def _again(self, hold: WaveHold) -> float:
        """When a daemon looks again (epoch seconds)."""
        records = self._state.waves
        later = records.now() + (LOOK_AGAIN if hold.is_moving else LOOK_LATER)
        return records.to_wall_clock(later if hold.until is None else hold.until)


def _is_over(hold: WaveHold | None, now: float) -> bool:
    return hold is not None and hold.until is not None and hold.until <= now


def _may_change(known: _KnownHold, own: int, index: int, target: Target) -> bool:
    """True if a record of this target, of the wave `index`, may change why the wave `own` must wait."""
    return index < own and (known.hold is None or known.hold.target in (None, target))
