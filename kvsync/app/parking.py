"""Parked plans: which targets wait for an approval, and what an approval releases."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from kvsync.app.model import is_hash_of
from kvsync.model.change import OutcomeKind
from kvsync.model.digest import target_digest
from kvsync.model.entry import Target
from kvsync.model.plan import Plan, TargetPlan, TargetReport
from kvsync.planning.permit import PermitInputs, hold_of
from kvsync.state import ParkedRecord, StateDir
from kvsync.util.clock import Clock


class Parking:
    """Keeps the parked plans of a workspace in its state directory. All methods raise StateDirError."""

    def __init__(self, state: StateDir, clock: Clock) -> None:
        self._state, self._parked, self._clock = state, state.parked, clock

    def released(self, plan: Plan, approvals: Collection[str] = ()) -> frozenset[Target]:
        """The targets of a plan that may be applied: not parked, or approved."""
        return frozenset(target.target for target in plan.targets if self._is_released(target, plan, approvals))

    def marked(self, plan: Plan, approvals: Collection[str] = ()) -> Plan:
        """The plan with those of its parked targets marked that are approved."""
        released = self.released(plan, approvals)
        marked = (replace(one, approved=one.target in released) if one.parked else one for one in plan.targets)
        return replace(plan, targets=tuple(marked))

    def keep(self, plan: Plan) -> None:
        """Note what waits for a person, so that `approve` finds it, and forget what does no longer. A pass over one target
        leaves the hash of the larger plan standing that a person may have seen."""
        waiting = self._parked_of(plan)
        for target in plan.targets:
            known = waiting.get(target.target)
            if target.parked and target.changes:
                is_part = len(plan.targets) == 1 and known is not None and known.digest == target.digest
                whole = known.plan_digest if known is not None and is_part else plan.digest
                self._parked.park(target.target, target.digest, whole, target.parked, self._clock.now())
            elif known is not None and target.error is None and not target.problems:
                self._parked.unpark(target.target)

    def consume(self, report: TargetReport) -> None:
        """Note that an approved plan was applied. Where the limit on deletes let only a part of it go, the approval also covers
        what is left."""
        plan = report.plan
        self._parked.consume(plan.target, plan.digest)
        if not report.deletes_waiting:
            return
        left = {one.identity for one in report.outcomes if one.kind is OutcomeKind.NOT_ATTEMPTED}
        rest = (one for one in plan.changes if one.identity in left)
        digest = target_digest(self._state.digest_key, plan.target, plan.place, rest, plan.refused)
        self._parked.park_approved(plan.target, digest, plan.parked, self._clock.now())

    def _is_released(self, target: TargetPlan, plan: Plan, approvals: Collection[str]) -> bool:
        is_parked = bool(target.parked) and not self._is_approved(target, plan, approvals)
        return hold_of(PermitInputs(is_parked=is_parked)) is None

    def _is_approved(self, target: TargetPlan, plan: Plan, approvals: Collection[str]) -> bool:
        digests = (target.digest, plan.digest)
        by_hand = any(is_hash_of(approval, digest) for approval in approvals for digest in digests)
        return by_hand or self._parked.approved(target.target, target.digest)

    def _parked_of(self, plan: Plan) -> dict[Target, ParkedRecord]:
        """What is parked of a plan's targets. The daemon plans one target at a time, and must not read all each time."""
        if len(plan.targets) > 1:
            return {record.target: record for record in self._parked.all()}
        found = (self._parked.find(one.target) for one in plan.targets)
        return {record.target: record for record in found if record is not None}
