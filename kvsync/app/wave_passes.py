"""Divides plans into waves, and waits between two waves if that was asked for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial

from kvsync.app.target_passes import TargetPasses
from kvsync.app.waves import HeldPart, Waves
from kvsync.model.pass_options import PassOptions
from kvsync.model.plan import Plan, TargetPlan, TargetReport
from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class DueStage:
    """The plans of a wave that may be applied now. `finish` takes the reports of `work`, records the wave, and returns the
    reports of all its plans."""

    work: tuple[TargetPlan, ...]
    finish: Callable[[Sequence[TargetReport]], list[TargetReport]]


class WavePasses:
    """The order of the waves of one workspace: which plans may be applied, and when. `denial` says why a person may not apply
    a plan now, None if they may. All methods may raise StateDirError."""

    def __init__(self, waves: Waves, passes: TargetPasses, denial: Callable[[TargetPlan], str | None]) -> None:
        self._waves, self._passes, self._denial = waves, passes, denial

    async def due(
        self, plan: Plan, pending: Sequence[TargetPlan], stop: Callable[[], bool]
    ) -> AsyncGenerator[DueStage, None]:
        """Yield the stages of the pending plans of a whole plan, each once it may be applied. What must wait longer than
        allowed is not among the work of its stage."""
        for stage in self._waves.stages(pending):
            parts = await self._waves.permitted(stage)
            while await self._waves.wait(parts, stop):
                parts = await self._look_again(plan, stage)
            self._waves.begin(parts)
            work = tuple(one.permitted for one in parts if has_work(one.permitted))
            yield DueStage(work, partial(self._finish, stage, parts))

    async def held(
        self, plan: Plan, pending: Sequence[TargetPlan], stop: Callable[[], bool]
    ) -> list[TargetReport] | None:
        """Reports of pending plans none of which may be applied, because of an earlier wave; None if there is something to
        apply."""
        reports: list[TargetReport] = []
        for stage in self._waves.stages(pending):
            parts = await self._waves.permitted(stage)
            while not _any_work(parts) and await self._waves.wait(parts, stop):
                parts = await self._look_again(plan, stage)
            if _any_work(parts):
                return None
            reports += self._finish(stage, parts, [])
        return reports

    async def _look_again(self, plan: Plan, stage: Sequence[TargetPlan]) -> list[HeldPart]:
        """What may be applied of the plans of a wave after a wait: the earlier waves may have drifted meanwhile, and a pause or
        a window may have begun."""
        if self._waves.files is not None:
            await self._passes.plan(self._waves.earlier(plan.targets, stage[0]), self._waves.files, PassOptions())
        return [part.unless(self._denial(part.permitted)) for part in await self._waves.permitted(stage)]

    def _finish(
        self, stage: Sequence[TargetPlan], parts: Sequence[HeldPart], done: Sequence[TargetReport]
    ) -> list[TargetReport]:
        """The reports of the plans of a wave, recorded."""
        by_target = {one.plan.target: one for one in done}
        whole = [
            self._waves.whole(one, part, by_target.get(one.target)) for one, part in zip(stage, parts, strict=True)
        ]
        self._waves.records.finish(whole)
        return whole


def has_work(plan: TargetPlan) -> bool:
    """True when there is something to apply."""
    return bool(plan.changes) or plan.deletes_namespace


def _any_work(parts: Sequence[HeldPart]) -> bool:
    return any(has_work(part.permitted) for part in parts)
