"""Computes the writes that undo runs, for every entry that is unchanged since the last of them.

    the run did     the entry now           undo
    ─────────────   ─────────────────────   ──────────────────────────────────────────────────
    create          as kvsync wrote it      delete it
    update          as kvsync wrote it      write the previous content, lifetime and mark
    renew, adopt    as kvsync wrote it      write the previous lifetime and mark
    delete          absent                  write it again
    anything        as it was before        unchanged: nothing to take back
    anything        anything else           stale: someone changed it since, and keeps it

Changes of one entry by several runs are taken back as one: from what the last one left to what the first one found. A sensitive
value is not in the journal, so it cannot be brought back; where no value is needed, undo works all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from kvsync.apply.model import Step
from kvsync.apply.read_back import describe, fingerprint_of, is_untouched
from kvsync.model.canonical import actual_fingerprint
from kvsync.model.capabilities import Capabilities
from kvsync.model.change import Action, Change, Outcome, OutcomeKind
from kvsync.model.entry import Actual, Content, Entry, Identity, Mark
from kvsync.state.records import ChangeRecord
from kvsync.stores.base import Precondition, Write
from kvsync.util.values import dataclass

_PERHAPS_WRITTEN = (OutcomeKind.APPLIED, OutcomeKind.FAILED, OutcomeKind.UNKNOWN, None)
"""Outcomes after which a change may have reached the store: also one whose response was lost, and an interrupted one."""

_KEEPS_CONTENT = frozenset({Action.RENEW, Action.ADOPT, Action.RELEASE})

_INVERSE = {Action.CREATE: Action.DELETE, Action.DELETE: Action.CREATE}


@dataclass(frozen=True, slots=True)
class InvertedRun:
    """Result of inverting a run: steps to apply, newest first, and the outcomes of changes that cannot or need not be
    undone."""

    steps: tuple[Step, ...]
    outcomes: tuple[Outcome, ...]


def undo_changes(
    records: Sequence[ChangeRecord],
    actual: Mapping[Identity, Actual],
    capabilities: Capabilities,
    owner: str,
    now: float,
    unread: Mapping[Identity, str] = MappingProxyType({}),
) -> InvertedRun:
    """Build the inverse of one target's changes, oldest first, from the journal and from fresh reads, with content, of their
    entries. `now` is in seconds since the epoch; `unread` says why some entries cannot be read. Changes that never reached the
    store are left out."""
    steps: list[Step] = []
    outcomes: list[Outcome] = []
    for chain in _chains(records):
        found, why = actual.get(chain[-1].identity), unread.get(chain[-1].identity)
        if why is not None:
            outcomes.append(_outcome(chain[-1], OutcomeKind.REFUSED, f"it could not be read: {why}"))
            continue
        record = _written(chain, found, capabilities)
        if record is None:
            continue
        result = _undo(record, _guarded(record, found, owner), capabilities, now)
        if isinstance(result, Step):
            steps.append(result)
        else:
            outcomes.append(result)
    return InvertedRun(tuple(steps), tuple(outcomes))


def _chains(records: Sequence[ChangeRecord]) -> list[list[ChangeRecord]]:
    """The changes by entry, each oldest first; the entry that was changed last comes first."""
    found: dict[Identity, list[ChangeRecord]] = {}
    for record in reversed(records):
        if record.outcome in _PERHAPS_WRITTEN:
            found.setdefault(record.identity, []).insert(0, record)
    return list(found.values())


def _written(chain: Sequence[ChangeRecord], found: Actual | None, capabilities: Capabilities) -> ChangeRecord | None:
    """The changes of one entry as one, without the last ones that never reached the store; None if none did."""
    kept = list(chain)
    while kept and kept[-1].outcome is not OutcomeKind.APPLIED and not _reached(kept[-1], found, capabilities):
        kept.pop()
    if len(kept) < 2:
        return kept[0] if kept else None
    first, last = kept[0], kept[-1]
    action = Action.CREATE if first.before is None else Action.DELETE if last.after is None else Action.UPDATE
    if {one.action for one in kept} <= _KEEPS_CONTENT:
        action = last.action
    return replace(last, action=action, before=first.before, withheld=any(one.withheld for one in kept))


def _reached(record: ChangeRecord, found: Actual | None, capabilities: Capabilities) -> bool:
    """True if a change whose outcome is unknown was written after all."""
    return _is_as_written(record, found) and not _is_as_before(record, found, capabilities)


def _guarded(record: ChangeRecord, found: Actual | None, owner: str) -> Actual | None:
    """What was read, marked as sensitive if the store has no mark that says so: the journal must not keep it."""
    if found is None or not record.withheld or found.mark is not None:
        return found
    return replace(found, mark=Mark(owner, fingerprint_of(found) or b"", sensitive=True))


def _undo(record: ChangeRecord, found: Actual | None, capabilities: Capabilities, now: float) -> Step | Outcome:
    if record.before is None and found is None:
        return _outcome(record, OutcomeKind.UNCHANGED, None)
    if not _is_as_written(record, found):
        if _is_as_before(record, found, capabilities):
            return _outcome(record, OutcomeKind.UNCHANGED, None)
        return _outcome(record, OutcomeKind.STALE, f"changed since kvsync wrote it: {describe(found)}")
    if record.before is None:
        change = Change(Action.DELETE, record.cause, record.identity, before=found)
        return Step(change, Write(record.identity, Precondition.UNCHANGED, etag=found.etag if found else None))
    return _restore(record, record.before, found, now)


def _restore(record: ChangeRecord, before: Actual, found: Actual | None, now: float) -> Step | Outcome:
    content = _previous_content(record, before, found)
    if content is None:
        return _outcome(record, OutcomeKind.REFUSED, _unknown_value(record))
    if before.expires_at is not None and before.expires_at <= now:
        return _outcome(record, OutcomeKind.SKIPPED, "the previous entry has expired since")
    if found is not None and found.content is not None and found.content.description:
        content = content._replace(description=content.description or "")  # None would leave the present one
    digest = actual_fingerprint(content, before.mark.matches if before.mark is not None else None)
    mark = _restored_mark(before.mark, digest)
    precondition = Precondition.ABSENT if found is None else Precondition.UNCHANGED
    etag = found.etag if found is not None else None
    entry = Entry(record.identity, content, digest, sensitive=record.withheld)
    action = _inverse(record)
    change = Change(action, record.cause, record.identity, before=found, after=entry)
    return Step(change, Write(record.identity, precondition, content, mark, before.expires_at, etag))


def _previous_content(record: ChangeRecord, before: Actual, found: Actual | None) -> Content | None:
    """The previous content: from the journal, or from the store if the change left the content alone."""
    if before.content is not None:
        return before.content
    if found is None or found.content is None:
        return None
    is_kept = record.action in _KEEPS_CONTENT or before.fingerprint == fingerprint_of(found)
    return found.content if is_kept else None


def _restored_mark(mark: Mark | None, digest: bytes) -> Mark | None:
    """The previous mark. If the journal holds it sealed, it is restored from the content that it was made of."""
    if mark is None or mark.key is None:
        return mark
    return replace(mark, fingerprint=digest if mark.matches(digest) else mark.fingerprint, key=None)


def _is_as_written(record: ChangeRecord, found: Actual | None) -> bool:
    """True if the entry is still at the version that the run left."""
    if record.after is None or found is None:
        return record.after is None and found is None
    if record.etag is not None and found.etag is not None:
        return record.etag == found.etag
    digest = fingerprint_of(found)
    return digest is not None and record.matches(digest)


def _is_as_before(record: ChangeRecord, found: Actual | None, capabilities: Capabilities) -> bool:
    """True if the entry is what it was before the run: untouched, or already restored."""
    before = record.before
    if before is None or before.fingerprint is None:
        is_known = before is None or before.etag is not None
        return is_known and is_untouched(before, found, capabilities)
    return is_untouched(before, found, capabilities) or is_untouched(replace(before, etag=None), found, capabilities)


def _inverse(record: ChangeRecord) -> Action:
    return _INVERSE.get(record.action, Action.UPDATE)


def _outcome(record: ChangeRecord, kind: OutcomeKind, error: str | None) -> Outcome:
    return Outcome(record.identity, _inverse(record), kind, error)


def _unknown_value(record: ChangeRecord) -> str:
    if record.withheld:
        return "its previous value was sensitive, and is not kept in the journal; set it by hand"
    return "its previous value is not in the journal; set it by hand"
