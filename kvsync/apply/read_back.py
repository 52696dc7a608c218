"""Verification of a write by reading the entry again: unchanged, written by us, or changed by another writer."""

from __future__ import annotations

from kvsync.apply.model import PendingStep
from kvsync.model.canonical import actual_fingerprint
from kvsync.model.capabilities import Capabilities, Lifetimes, Marks
from kvsync.model.change import Change
from kvsync.model.entry import Actual
from kvsync.stores.base import Store, Write
from kvsync.stores.extensions import VersionHints, version_hints

_SLACK = 10
"""Seconds by which a store may round the end of a lifetime, or report it late."""


def is_untouched(before: Actual | None, fresh: Actual | None, capabilities: Capabilities) -> bool:
    """True if the store still holds the version that the change was planned against."""
    if before is None or fresh is None:
        return before is fresh
    if before.etag is not None and fresh.etag is not None:
        return before.etag == fresh.etag
    if capabilities.marks is Marks.STORE and before.mark != fresh.mark:
        return False
    if before.fingerprint is not None:
        return before.fingerprint == fingerprint_of(fresh)
    return before.size is None or before.size == size_of(fresh)


def is_confirmed(before: Actual | None, seen: Actual | None, capabilities: Capabilities, hints: VersionHints) -> bool:
    """True if a scan leaves no doubt that the store still holds the version that the change was planned against."""
    if before is None or seen is None:
        return before is seen
    if capabilities.marks is Marks.STORE and before.mark != seen.mark:
        return False
    if seen.fingerprint is not None:
        return seen.fingerprint == fingerprint_of(before)
    return seen.etag is not None and before.etag is not None and hints.may_be_version(seen.etag, before.etag)


def is_written(
    write: Write, etag: str | None, seen: Actual | None, capabilities: Capabilities, hints: VersionHints
) -> bool:
    """True if a scan leaves no doubt that the store holds the content of `write`, with its mark; `etag` is the version that the
    write made."""
    if write.content is None or seen is None or seen.fingerprint is not None:
        return is_held(write, seen, capabilities)
    if capabilities.marks is Marks.STORE and write.mark != seen.mark:
        return False
    return seen.etag is not None and etag is not None and hints.may_be_version(seen.etag, etag)


def shown_etag(etag: str | None, *, sensitive: bool, capabilities: Capabilities) -> str | None:
    """The etag of an entry as it may be shown. Without versions in the store it is made of the content, and could confirm a
    guess at a sensitive value."""
    return None if sensitive and not capabilities.compare_and_set else etag


def kept_etag(etag: str | None, *, sensitive: bool, store: Store) -> str | None:
    """The etag of an entry as the ledger may keep it: for a sensitive entry, only the part that a listing shows."""
    is_told = etag is None or not sensitive or store.capabilities.compare_and_set
    return etag if is_told or etag is None else version_hints(store).redacted_etag(etag)


def is_held(write: Write, fresh: Actual | None, capabilities: Capabilities) -> bool:
    """True if the store holds the content of `write`, with its mark."""
    if write.content is None or fresh is None:
        return write.content is None and fresh is None
    if capabilities.marks is Marks.STORE and write.mark != fresh.mark:
        return False
    return fingerprint_of(fresh) == actual_fingerprint(
        write.content, write.mark.matches if write.mark is not None else None
    )


def has_landed(work: PendingStep, fresh: Actual | None, capabilities: Capabilities) -> bool:
    """True if the store can only hold this because of `work`, although its response was lost."""
    if work.sent is None or not is_held(work.sent, fresh, capabilities):
        return False
    if fresh is None or (fresh.etag is None and capabilities.lifetimes is Lifetimes.EMULATED):
        return True
    if fresh.etag is not None and work.change.before is not None:
        return fresh.etag != work.change.before.etag
    return capabilities.lifetimes is Lifetimes.EMULATED or _lives_as_long(work.sent.expires_at, fresh.expires_at)


def is_same_change(approved: Change, again: Change) -> bool:
    """True if the new plan is the approved one: the same action for the same cause, from the same content, to the same
    entry."""
    if (approved.action, approved.cause) != (again.action, again.cause):
        return False
    if (approved.before is None) is not (again.before is None):
        return False
    if approved.before is not None and again.before is not None:
        known = fingerprint_of(approved.before)
        if known is None or known != fingerprint_of(again.before):
            return False
    if approved.after is None or again.after is None:
        return approved.after is again.after
    return _requested(approved) == _requested(again)


def describe(actual: Actual | None) -> str:
    """The current state, for messages; never a value, nor its size, which may reveal a secret."""
    if actual is None:
        return "it no longer exists"
    whose = f"with the mark of owner {actual.mark.owner!r}" if actual.mark is not None else "without a mark"
    return f"it exists {whose}, with other content"


def fingerprint_of(actual: Actual) -> bytes | None:
    """The fingerprint of an entry, computed from its content if the store returned none."""
    if actual.fingerprint is not None or actual.content is None:
        return actual.fingerprint
    return actual_fingerprint(actual.content, actual.mark.matches if actual.mark is not None else None)


def size_of(actual: Actual) -> int | None:
    """The size of an entry's value in bytes, None if unknown."""
    if actual.size is not None or actual.content is None:
        return actual.size
    return len(actual.content.value)


def loses_content(work: PendingStep) -> bool:
    """True if this change would destroy the only copy of the current content."""
    before, after = work.change.before, work.change.after
    if before is None:
        return False
    return work.is_delete or after is None or before.fingerprint != after.fingerprint


def _lives_as_long(wished: float | None, actual: float | None) -> bool:
    if wished is None or actual is None:
        return wished is actual
    return abs(wished - actual) <= _SLACK


def _requested(change: Change) -> tuple[object, ...]:
    entry = change.after
    assert entry is not None
    return entry.fingerprint, entry.ttl, entry.expires_at, entry.sensitive, entry.protected
