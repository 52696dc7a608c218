"""Differences between a desired and an actual entry: content and lifetime."""

from __future__ import annotations

from kvsync.model.canonical import canonical_json_text
from kvsync.model.change import Class
from kvsync.model.entry import Actual, Applied, Entry, Mark
from kvsync.planning.verdict import Rules

CLOCK_SLACK = 60
"""Seconds by which a lifetime may be longer than declared before it counts as another writer's change."""


def differences(entry: Entry, actual: Actual) -> tuple[str, ...]:
    """The names of the parts of the content that differ; none if it is equal."""
    if actual.fingerprint == entry.fingerprint:
        return ()
    if actual.content is None:
        return ("value",)
    names = [
        name
        for name in ("content_type", "tags", "metadata")
        if getattr(entry.content, name) != getattr(actual.content, name)
    ]
    if not _same_value(entry, actual.content.value):
        names.insert(0, "value")
    wanted = entry.content.description
    if wanted is not None and wanted != (actual.content.description or ""):
        names.append("description")
    return tuple(names)


def releases_description(entry: Entry, actual: Actual, mark: Mark) -> bool:
    """True if kvsync wrote a description that the files no longer mention: the mark must say that it is left alone from now
    on."""
    is_there = actual.content is not None and actual.content.description is not None
    return is_there and entry.content.description is None and not mark.matches(entry.fingerprint)


def _same_value(entry: Entry, value: bytes) -> bool:
    return value == entry.content.value or (entry.json and canonical_json_text(value) == entry.content.value)


def lifetime(
    entry: Entry, actual: Actual, mark: Mark, last: Applied | None, rules: Rules
) -> tuple[Class, tuple[str, ...]]:
    """Compare the lifetime of an entry whose content is as desired: class and reasons; no reasons if it is right."""
    now = rules.now
    if entry.expires_at is not None:
        return _moment(entry.expires_at, actual, last, rules)
    if entry.ttl != mark.ttl:
        return Class.CHANGED, ("ttl",)
    if entry.ttl is None:
        return _no_end(actual, last)
    if actual.expires_at is None or ends_differently(entry, actual, now):
        return Class.DRIFTED, ("ttl",)
    margin = entry.renewal_margin()
    if margin > 0 and now >= actual.expires_at - margin:  # as `moments` reckons: its very moment must not be missed
        return Class.EXPIRING, ("ttl",)
    return Class.CHANGED, ()


def _no_end(actual: Actual, last: Applied | None) -> tuple[Class, tuple[str, ...]]:
    """Compare the lifetime of an entry that must stay. The files no longer ask for an end that was applied last."""
    if actual.expires_at is None:
        return Class.CHANGED, ()
    if last is not None and _same_moment(last.expires_at, actual.expires_at):
        return Class.CHANGED, ("expires_at",)
    return Class.DRIFTED, ("ttl",)


def _moment(expires_at: float, actual: Actual, last: Applied | None, rules: Rules) -> tuple[Class, tuple[str, ...]]:
    """Compare a declared end. If it is later than the store keeps anything, the entry is renewed until then."""
    if _same_moment(actual.expires_at, expires_at):
        return Class.CHANGED, ()
    moved_by_others = last is not None and _same_moment(last.expires_at, expires_at)
    end = actual.expires_at
    if rules.longest is not None and end is not None and end < expires_at and not moved_by_others:
        is_due = rules.now >= min(expires_at - rules.longest, end - rules.longest / 3)
        return (Class.EXPIRING, ("expires_at",)) if is_due else (Class.CHANGED, ())
    return (Class.DRIFTED if moved_by_others else Class.CHANGED), ("expires_at",)


def ends_differently(entry: Entry, actual: Actual, now: float) -> bool:
    """True if the entry ends at another moment than is declared, or later than its TTL allows."""
    end = actual.expires_at
    if entry.ttl is None or end is None:
        return not _same_moment(end, entry.expires_at) or entry.ttl is not None
    return end - now > entry.ttl + CLOCK_SLACK


def _same_moment(left: float | None, right: float | None) -> bool:
    if left is None or right is None:
        return left is right
    return abs(left - right) <= 1


def is_as_applied(actual: Actual, mark: Mark, last: Applied | None) -> bool:
    """True if the entry is as kvsync left it: by the version in the ledger, or by the fingerprint in mark or ledger."""
    if last is not None and last.etag is not None and last.etag == actual.etag:
        return True
    return actual.fingerprint is not None and mark.matches(actual.fingerprint)
