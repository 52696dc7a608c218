"""Changes that must wait because an entry that has to be written before them cannot be written."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Sequence

from kvsync.model.change import Change, Refusal
from kvsync.model.entry import Identity, identity_order


def waiting_changes(changes: Sequence[Change], unfinished: Collection[Identity]) -> dict[Identity, Identity]:
    """The changes that must be written after `unfinished` entries, or after each other: identity to what it waits for."""
    waiting: dict[Identity, Identity] = {}
    if not unfinished:
        return waiting
    followers: defaultdict[str, list[Identity]] = defaultdict(list)
    for change in changes:
        for key in change.written_after:
            followers[key].append(change.identity)
    pending = deque(unfinished)
    while pending:
        identity = pending.popleft()
        for follower in followers.pop(identity.key, ()):
            if follower not in waiting:
                waiting[follower] = identity
                pending.append(follower)
    first = min(unfinished, key=identity_order)
    waiting.update((change.identity, first) for change in changes if change.is_last)
    return waiting


def split_waiting(
    changes: tuple[Change, ...], refused: tuple[Refusal, ...]
) -> tuple[tuple[Change, ...], tuple[Refusal, ...]]:
    """The changes that may be applied, and the refusals, including changes that wait for a refused entry."""
    waiting = waiting_changes(changes, [refusal.identity for refusal in refused])
    if not waiting:
        return changes, refused
    held = [_refusal(change, waiting[change.identity]) for change in changes if change.identity in waiting]
    kept = tuple(change for change in changes if change.identity not in waiting)
    return kept, tuple(sorted((*refused, *held), key=lambda one: identity_order(one.identity)))


def why_waiting(change: Change, other: Identity) -> str:
    """The reason why a change is not applied while another entry of its target is not as desired."""
    after = "everything else of its target" if change.is_last else str(other)
    return f"it is written after {after}, and {other} cannot be written yet"


def _refusal(change: Change, other: Identity) -> Refusal:
    reason = why_waiting(change, other)
    return Refusal(
        change.identity, change.cause, change.action, reason, change.origin, deferred=change, reasons=change.reasons
    )
