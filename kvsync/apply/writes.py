"""Converts changes to writes, and groups them into calls that the store accepts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from kvsync.apply.model import PendingStep
from kvsync.model.capabilities import Capabilities, Lifetimes
from kvsync.model.change import Action, Change
from kvsync.model.entry import Actual, Entry, Mark
from kvsync.planning.ledger_only import is_ledger_only
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Precondition, Write

MOST_CHECKED = 1000
"""Steps in one batch, if a call has fewer."""

_OVERHEAD = 256
"""Bytes that an entry takes in a request besides its content: field names, our mark, quotes."""


def write_for(change: Change, signer: MarkSigner, now: float, capabilities: Capabilities) -> Write:
    """The write for `change`, with the version that it was planned against as its precondition."""
    before, after = change.before, change.after
    precondition = Precondition.ABSENT if before is None else Precondition.UNCHANGED
    etag = before.etag if before is not None else None
    if change.action is Action.DELETE or after is None:
        return Write(change.identity, precondition, etag=etag)
    if change.action is Action.RELEASE:
        expires_at = before.expires_at if before is not None and capabilities.lifetimes is Lifetimes.NATIVE else None
        return Write(change.identity, precondition, after.content, None, expires_at, etag)
    mark = signer.mark_of(after)
    is_touch = change.action is Action.RENEW and before is not None and _keeps_all_but_lifetime(before, mark)
    expires_at = expiry_of(after, now, capabilities)
    if before is not None and capabilities.lifetimes is Lifetimes.NATIVE and is_ledger_only(change, capabilities):
        expires_at = before.expires_at
    return Write(change.identity, precondition, after.content, mark, expires_at, etag, is_touch)


def _keeps_all_but_lifetime(before: Actual, mark: Mark) -> bool:
    """Whether a mark must be written. A sealed mark comes from the ledger: then the store keeps no marks."""
    was = before.mark
    return before.fingerprint == mark.fingerprint and was is not None and (was == mark or was.key is not None)


def expiry_of(entry: Entry, now: float, capabilities: Capabilities) -> float | None:
    """When an entry written at `now` must end, as far as the store supports it; None if it must stay."""
    latest = None if capabilities.longest is None else now + capabilities.longest
    if entry.expires_at is not None:
        return entry.expires_at if latest is None else min(entry.expires_at, latest)
    return latest if entry.ttl is None else now + entry.ttl


def calls_of(works: Iterable[PendingStep], capabilities: Capabilities) -> deque[list[PendingStep]]:
    """Split steps into calls as large as the store accepts, by number and by bytes."""
    calls: deque[list[PendingStep]] = deque()
    size = 0
    limit = capabilities.max_batch_bytes
    for work in works:
        weight = _weight(work) if limit is not None else 0
        is_full = not calls or len(calls[-1]) >= capabilities.batch
        if is_full or (limit is not None and size + weight > limit):
            calls.append([])
            size = 0
        calls[-1].append(work)
        size += weight
    return calls


def batches_of(works: Iterable[PendingStep], capabilities: Capabilities) -> list[list[list[PendingStep]]]:
    """Group the calls for these steps into batches, whose entries are checked together."""
    batches: list[list[list[PendingStep]]] = []
    size = 0
    for call in calls_of(works, capabilities):
        if not batches or size + len(call) > MOST_CHECKED:
            batches.append([])
            size = 0
        batches[-1].append(call)
        size += len(call)
    return batches


def halves(works: list[PendingStep]) -> list[list[PendingStep]]:
    """Split a call in two; a call of one stays as it is."""
    middle = len(works) // 2
    return [works[:middle], works[middle:]] if middle else [works]


def _weight(work: PendingStep) -> int:
    """Bytes in the request, at most: values may be sent as base64, four bytes for three."""
    size = len(work.change.identity.key.encode(errors="replace")) + _OVERHEAD
    content = work.fixed.content if work.fixed is not None else work.change.after and work.change.after.content
    if not content or work.is_delete:
        return size
    for name, text in content.tags:
        size += 4 * (len(name) + len(text))
    return size + len(content.value) * 4 // 3 + 4 + 4 * len(content.metadata or "")
