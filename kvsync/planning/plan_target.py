"""Plans one target: classifies the differences, applies the policy, and counts the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from kvsync.errors import ErrorCode
from kvsync.model.capabilities import Capabilities
from kvsync.model.change import DRIFT_CLASSES, Action, Change, Refusal
from kvsync.model.desired import Desired
from kvsync.model.digest import target_digest
from kvsync.model.entry import Actual, Applied, Entry, Identity, Mode
from kvsync.model.plan import TargetPlan
from kvsync.model.policy import DriftAction, Policy
from kvsync.model.snapshot import Snapshot
from kvsync.planning import guard
from kvsync.planning.classify import classify
from kvsync.planning.compare import Comparison, key_matcher
from kvsync.planning.cost import cost_of
from kvsync.planning.moved_descriptions import with_moved_descriptions
from kvsync.planning.order import split_waiting
from kvsync.planning.plan_inputs import PlanInputs
from kvsync.planning.release import classify_release
from kvsync.planning.timers import grace_end, next_moment
from kvsync.planning.undesired import classify_undesired
from kvsync.planning.verdict import Idle, Removal, Rules, Verdict
from kvsync.util.values import dataclass

_SAME_END = 10
"""Seconds by which a store may round the end of a lifetime."""


def plan_target(
    desired: Desired,
    snapshot: Snapshot,
    comparison: Comparison,
    facts: PlanInputs,
    rules: Rules,
    capabilities: Capabilities,
) -> TargetPlan:
    """Make the plan of one target. It depends on the arguments only."""
    differing: Iterable[Identity] = comparison.differing
    if facts.keys:
        wanted = key_matcher(facts.keys)
        differing = (identity for identity in differing if wanted(identity.key))
    judged = [(identity, classify_identity(identity, desired, facts, rules)) for identity in differing]
    verdicts = [verdict for _, verdict in judged]
    if facts.blocked is not None:
        verdicts = [_blocked(verdict, facts.blocked) for verdict in verdicts]
    if desired.moves:
        verdicts = with_moved_descriptions(verdicts, desired, facts)
    idle = [verdict for verdict in verdicts if isinstance(verdict, Idle)]
    sorter = _Sorter(desired.policy, facts, rules.now)
    changes, reported = sorter.split([verdict for verdict in verdicts if isinstance(verdict, Change)])
    changes, refused = split_waiting(changes, tuple(verdict for verdict in verdicts if isinstance(verdict, Refusal)))
    plan = TargetPlan(
        desired.target,
        capabilities.type,
        digest=target_digest(rules.digest_key, desired.target, rules.signer.place, changes, refused),
        place=rules.signer.place,
        complete=snapshot.complete,
        parked=_parked(changes, desired, snapshot, comparison),
        changes=changes,
        refused=refused,
        reported=reported,
        unchanged=comparison.unchanged + idle.count(Idle.UNCHANGED) + idle.count(Idle.ORPHAN),
        orphans=idle.count(Idle.ORPHAN),
        foreign=comparison.foreign + idle.count(Idle.FOREIGN),
        ignored=comparison.ignored,
        expired=idle.count(Idle.EXPIRED),
        compare_and_set=capabilities.compare_and_set,
        next_moment=next_moment(desired, judged, facts, rules.now, capabilities),
    )
    return replace(plan, cost=cost_of(plan, capabilities)) if changes else plan


def classify_identity(identity: Identity, desired: Desired, facts: PlanInputs, rules: Rules) -> Verdict:
    """Classify one identity, whether it is desired, in the store, or both."""
    entry, actual = desired.entries.get(identity), facts.actual.get(identity)
    last = facts.applied.get(identity)
    if rules.releases:
        released = None if actual is None else classify_release(actual, last, rules)
        return released or Idle.FOREIGN
    if (
        identity in facts.settling
        and is_as_written(entry, last)
        and _is_past(actual, facts.overwritten.get(identity, ()))
    ):
        return Idle.GONE if entry is None else Idle.UNCHANGED
    if entry is not None:
        return classify(entry, actual, last, rules)
    if actual is None:
        return Idle.GONE
    return _move_checked(classify_undesired(actual, last, _removal(identity, desired), rules), desired, facts, rules)


def _move_checked(verdict: Verdict, desired: Desired, facts: PlanInputs, rules: Rules) -> Verdict:
    """Refuse to delete the old name of a move if the new one exists, is not ours, and has a mode that leaves it so."""
    is_here = isinstance(verdict, Change) and verdict.moved_to_target is None
    new_name = verdict.moved_to if isinstance(verdict, Change) and is_here else None
    found = facts.actual.get(new_name) if new_name is not None else None
    if not isinstance(verdict, Change) or new_name is None or found is None:
        return verdict
    if desired.entries[new_name].mode is Mode.ENFORCE or rules.signer.claims(found):
        return verdict
    owner = found.mark.owner if found.mark is not None else None
    whose = "has no owner" if owner in (None, rules.owner) else f"belongs to owner {owner!r}"
    reason = f"it is kept, because its new name {new_name} {whose}"
    detail = ErrorCode.MOVE_INCOMPLETE
    return Refusal(verdict.identity, verdict.cause, verdict.action, reason, verdict.origin, detail=detail)


def is_as_written(entry: Entry | None, last: Applied | None) -> bool:
    """True if kvsync last wrote what the files still ask for, so that a late listing is not a reason to write it again."""
    if entry is None or last is None:
        return entry is None and last is None
    mark = last.mark
    is_same = last.matches(entry.fingerprint) and mark.ttl == entry.ttl and mark.sensitive == entry.sensitive
    return is_same and mark.protected == entry.protected and last.expires_at == (entry.expires_at or last.expires_at)


def may_be_stale(facts: PlanInputs) -> bool:
    """True if the store may still show content that kvsync has overwritten."""
    return any(_is_past(facts.actual.get(identity), befores) for identity, befores in facts.overwritten.items())


def _is_past(actual: Actual | None, overwritten: Iterable[Actual | None]) -> bool:
    """True if the store shows content that kvsync has overwritten, so that it may only be late."""
    return any(_is_same(before, actual) for before in overwritten)


def _is_same(before: Actual | None, actual: Actual | None) -> bool:
    if before is None or actual is None:
        return before is actual
    if abs((before.expires_at or 0) - (actual.expires_at or 0)) > _SAME_END:
        return False
    if before.fingerprint is not None or actual.fingerprint is None:
        return before.fingerprint == actual.fingerprint
    return before.mark is None or before.mark.matches(actual.fingerprint)  # of what is sensitive no more is kept


def _removal(identity: Identity, desired: Desired) -> Removal | None:
    move = desired.moves.get(identity.key)
    if move is not None:
        destination = Identity(move.destination, identity.label)
        if move.destination_target is not None:
            return Removal(move.origin, destination, move.destination_target)
        return Removal(move.origin, destination if destination in desired.entries else None)
    origin = desired.absent.get(identity.key)
    return Removal(origin) if origin else None


def _blocked(verdict: Verdict, blocked: Callable[[Change], str | None]) -> Verdict:
    if not isinstance(verdict, Change):
        return verdict
    reason = blocked(verdict)
    if reason is None:
        return verdict
    return Refusal(
        verdict.identity,
        verdict.cause,
        verdict.action,
        reason,
        verdict.origin,
        deferred=verdict,
        reasons=verdict.reasons,
    )


@dataclass(frozen=True, slots=True)
class _Sorter:
    """Separates changes to apply from changes to report."""

    policy: Policy
    facts: PlanInputs
    now: float

    def split(self, changes: Iterable[Change]) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
        apply: list[Change] = []
        report: list[Change] = []
        for change in changes:
            (report if self._only_reported(change) else apply).append(change)
        return tuple(apply), tuple(report)

    def _only_reported(self, change: Change) -> bool:
        if change.after is not None and change.after.mode is Mode.OBSERVE:
            return True
        if change.cause in DRIFT_CLASSES and drift_action(change, self.policy) is DriftAction.REPORT:
            return True
        end = grace_end(change, self.policy, self.facts) if change.action is Action.DELETE else None
        return end is not None and end > self.now


def drift_action(change: Change, policy: Policy) -> DriftAction | None:
    """What the policy says about this change as drift; None if it is not drift."""
    if change.cause not in DRIFT_CLASSES:
        return None
    action: DriftAction = getattr(policy.drift, change.cause.value)
    return action


def _parked(
    changes: tuple[Change, ...], desired: Desired, snapshot: Snapshot, comparison: Comparison
) -> tuple[str, ...]:
    drifted = [change for change in changes if change.cause in DRIFT_CLASSES]
    gated = sum(drift_action(change, desired.policy) is DriftAction.GATE for change in drifted)
    reasons = guard.check(
        changes,
        desired.policy.guard,
        owned=comparison.owned,
        desired=desired.entries,
        complete=snapshot.complete,
        problems=snapshot.problems,
    )
    if gated:
        reasons += (f"{gated} drifted entries wait for approval (policy.drift is gate)",)
    return reasons
