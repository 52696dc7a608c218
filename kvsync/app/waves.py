"""Waves of a workspace: applies earlier waves first, and holds the targets that must wait for one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kvsync.app.wave_records import SyncRecords
from kvsync.desired import DesiredState
from kvsync.model.entry import Target
from kvsync.model.plan import TargetPlan, TargetReport
from kvsync.model.wave import WavePosition
from kvsync.planning.permit import Circumstances, hold_of
from kvsync.planning.waves import (
    WaveFacts,
    WaveHold,
    members_of,
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


@dataclass(frozen=True, slots=True)
class HeldPart:
    """What of a plan may be applied now, and why the rest may not."""

    permitted: TargetPlan
    hold: WaveHold | None


class Waves:
    """Knows which targets of a workspace wait for which. All methods may raise StateDirError."""

    def __init__(self, config: Config, pass_context: PassContext, stores: Mapping[str, Store]) -> None:
        self._waves, self._state = config.waves, pass_context.state
        self.records = SyncRecords(config.waves, pass_context.state, stores)
        self._root, self._clock = config.root, pass_context.clock
        self._probes: Probes | None = None
        self._files: DesiredState | None = None
        self._members: Mapping[int, Sequence[Target]] = {}

    def use(self, files: DesiredState) -> None:
        """Judge by these files from now on: they have the targets of all shards."""
        if self._waves:
            self._files, self._members = files, members_of(files.managed, self._waves)

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
        hold = self._hold(own)
        if hold is None and own:
            hold = self._hold(own, await self._failed_probes(own))
        return [self._part(plan, hold) for plan in stage]

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
        holds = {own: self._hold(own) for own in {wave_of(plan.target, self._waves) for plan in plans}}
        return tuple(
            self._placed(plan, holds[wave_of(plan.target, self._waves)] if self._may_wait(plan) else None)
            for plan in plans
        )

    def _part(self, plan: TargetPlan, hold: WaveHold | None) -> HeldPart:
        if hold_of(Circumstances(is_early=self._may_wait(plan) and hold is not None)) is None:
            return HeldPart(plan, None)
        late = self.records.holdable(plan)
        # An approval covers the whole of a parked plan, so that nothing of it is applied before all may be.
        kept = () if plan.parked else tuple(one for one in plan.changes if one.identity not in late)
        return HeldPart(replace(plan, changes=kept, deletes_namespace=False), hold)

    def _may_wait(self, plan: TargetPlan) -> bool:
        """Whether a wave may hold back something of a plan."""
        return plan.deletes_namespace or bool(self.records.holdable(plan))

    async def _failed_probes(self, own: int) -> Mapping[int, str]:
        """Why probes fail, by wave: those of the wave with the index `own`, and of the waves before it."""
        asked = {index: wave for index, wave in enumerate(self._waves[: own + 1]) if wave.probe is not None}
        if not asked:
            return {}
        if self._probes is None:
            from kvsync.app.probes import Probes  # who has no probe does not pay for it

            self._probes = Probes(self._root, self._clock, self._state.waves.now)
        known = self._state.waves.all()
        earlier = (known.get(one) for index in range(own) for one in self._members.get(index, ()))
        return await self._probes.failures(asked, max((one.since for one in earlier if one is not None), default=0))

    def _placed(self, plan: TargetPlan, hold: WaveHold | None) -> TargetPlan:
        number = wave_of(plan.target, self._waves) + 1
        total = wave_count(self._waves, self._members)
        if hold is None:
            return replace(plan, wave=WavePosition(number, total))
        until = None if hold.until is None else self._state.waves.wall(hold.until)
        return replace(plan, wave=WavePosition(number, total, self._text(hold), until))

    def _text(self, hold: WaveHold) -> str:
        """Why a target waits, for people."""
        until = "" if hold.until is None else f" until {moment(self._state.waves.wall(hold.until))}"
        return f"{hold.reason}{until}"

    def _hold(self, own: int, failed_probes: Mapping[int, str] | None = None) -> WaveHold | None:
        if own == 0:
            return None
        files = self._files
        if files is None:
            return WaveHold("waits for the files to be read", is_moving=True)
        awaited = [one for index in range(own) for one in self._members.get(index, ()) if one in files.targets]
        desired = {one: self.records.digest(one, files) for one in awaited if one not in files.held}
        records = self._state.waves
        facts = WaveFacts(self._members, desired, records.all(), records.now(), failed_probes or {})
        return wave_hold(own, self._waves, facts)

    def _again(self, hold: WaveHold) -> float:
        """When a daemon looks again (epoch seconds)."""
        records = self._state.waves
        later = records.now() + (LOOK_AGAIN if hold.is_moving else LOOK_LATER)
        return records.wall(later if hold.until is None else hold.until)
