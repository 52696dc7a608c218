"""Time of the next pass of an unchanged target: a renewal, an expiry, the end of a grace period or of a settle window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kvsync.model.capabilities import Capabilities, Lifetimes
from kvsync.model.change import Action, Change, Class
from kvsync.model.desired import Desired
from kvsync.model.entry import Entry, Identity
from kvsync.model.policy import Policy
from kvsync.planning.plan_inputs import PlanInputs
from kvsync.planning.verdict import Idle, Verdict


def next_moment(
    desired: Desired,
    judged: Iterable[tuple[Identity, Verdict]],
    facts: PlanInputs,
    now: float,
    capabilities: Capabilities,
) -> float | None:
    """The next such moment (epoch seconds) after `now`, as if the changes were applied now; None if there is none."""
    moments = (
        moment
        for identity, verdict in judged
        for moment in _moments(identity, verdict, desired, facts, now, capabilities)
        if moment > now
    )
    return min(moments, default=None)


def grace_end(change: Change, policy: Policy, facts: PlanInputs) -> float | None:
    """The moment until which a removal waits; infinite until it is recorded when the entry became undesired; None if the change
    is not a removal or there is no grace."""
    grace = max(policy.guard.grace, facts.grace)
    if grace <= 0 or change.action is not Action.DELETE or change.cause is Class.EXPIRED:
        return None
    return facts.undesired_since.get(change.identity, float("inf")) + grace


def _moments(
    identity: Identity, verdict: Verdict, desired: Desired, facts: PlanInputs, now: float, capabilities: Capabilities
) -> Iterator[float]:
    if identity in facts.settling:
        yield facts.settling[identity]
    change = verdict if isinstance(verdict, Change) else None
    if change is not None and change.action is Action.DELETE:
        end = grace_end(change, desired.policy, facts)
        if end is not None:
            yield min(end, now + max(desired.policy.guard.grace, facts.grace))
    entry = change.after if change is not None else desired.entries.get(identity)
    if verdict is Idle.EXPIRED:
        return  # it expired as declared, and no other life is due
    if entry is not None and (entry.ttl is not None or entry.expires_at is not None):
        yield from _end_of_life(entry, verdict, facts, now, capabilities)


def _end_of_life(
    entry: Entry, verdict: Verdict, facts: PlanInputs, now: float, capabilities: Capabilities
) -> Iterator[float]:
    """Yield when kvsync must act on a lifetime: to renew it, or to delete the entry if the store does not."""
    margin = entry.renewal_margin()
    if entry.expires_at is not None and capabilities.longest is not None:
        yield from _early_renewals(
            entry.expires_at, _end(entry, verdict, facts, now + capabilities.longest), capabilities.longest
        )
    if capabilities.lifetimes is Lifetimes.NATIVE and (entry.ttl is None or margin == 0):
        return
    if entry.expires_at is not None:
        yield entry.expires_at
        return
    yield _end(entry, verdict, facts, now + (entry.ttl or 0)) - margin


def _end(entry: Entry, verdict: Verdict, facts: PlanInputs, latest: float) -> float:
    """When an entry ends if nothing is done; an entry that is about to be written, at the latest possible moment."""
    actual = facts.actual.get(entry.identity)
    is_kept = actual is not None and not isinstance(verdict, Change)
    return actual.expires_at if is_kept and actual is not None and actual.expires_at is not None else latest


def _early_renewals(declared: float, end: float, longest: float) -> Iterator[float]:
    """Yield the renewal times of an entry that expires before its declared end."""
    if end < declared - 1:
        yield min(declared - longest, end - longest / 3)
