"""Recovery of changes whose outcome is unknown because the run was killed or the response was lost.

Where marks live next to the entries the store itself says what is ours. Where only the ledger knows, an entry that was written
just before the end would be nobody's; so the journal's open intents are held against the store before anything is planned.

    intent    the store shows           the ledger says from now on
    ───────   ───────────────────────   ────────────────────────────────────────────────────────────────
    write     what was to be written    it is ours
    write     anything else             what it said before; of an entry that it does not know: ours once it is
                                        as it was to be written, for a read may be late
    delete    nothing                   out of sight: ours again if it becomes visible as it was
    delete    anything                  what it said before
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kvsync.model.change import Class, OutcomeKind
from kvsync.model.entry import ENDED, Actual, Applied, Identity, Mark
from kvsync.reconcile.observer import Observer
from kvsync.state import ChangeRecord, StateDir
from kvsync.stores.partial import PartialRead


async def recover(observer: Observer, state: StateDir, now: float) -> None:
    """Close the open intents of killed runs on the observer's target; `now` is in epoch seconds. Raises StoreError,
    StateDirError."""
    records = {record.identity: record for record in state.journal.cut_off(observer.subject.located)}
    if not records:
        return
    try:
        fresh: Mapping[Identity, Actual] = await observer.read(list(records))
    except PartialRead as partial:  # what cannot be read now is found out later
        fresh = partial.found
        records = {identity: record for identity, record in records.items() if identity not in partial.failed}
    known = state.ledger.get(observer.subject.key, records)
    outcomes: dict[Identity, OutcomeKind] = {}
    applied: dict[Identity, Applied | None] = {}
    for identity, record in records.items():
        found, last = fresh.get(identity), known.get(identity)
        has_landed = _has_landed(record, found)
        outcomes[identity] = OutcomeKind.APPLIED if has_landed else OutcomeKind.NOT_ATTEMPTED
        if has_landed:
            applied[identity] = _gone(record, last, now) if found is None else _applied(record, found, observer)
        elif record.after is not None and last is None:
            applied[identity] = replace(_intended(record, record.after, observer), unseen_since=now)
    state.journal.resolve(observer.subject.located, outcomes, applied)


def _has_landed(record: ChangeRecord, found: Actual | None) -> bool:
    if record.after is None or found is None:
        return record.after is None and found is None
    return found.fingerprint is not None and record.matches(found.fingerprint)


def _gone(record: ChangeRecord, last: Applied | None, now: float) -> Applied | None:
    if last is None:
        return None
    return replace(last, etag=ENDED) if record.cause is Class.EXPIRED else replace(last, unseen_since=now)


def _applied(record: ChangeRecord, found: Actual, observer: Observer) -> Applied | None:
    """The entry as it was found. The journal does not have the lifetime that was asked for: if it is wrong, the plan changes
    it."""
    if found.fingerprint is None:
        return None
    ttl = found.mark.ttl if found.mark is not None else None
    etag = observer.kept_etag(found, sensitive=record.withheld)
    mark = Mark(observer.subject.signer.owner, found.fingerprint, ttl, record.withheld)
    return Applied(mark, etag, found.expires_at)


def _intended(record: ChangeRecord, fingerprint: bytes, observer: Observer) -> Applied:
    """The entry as it should have been written."""
    return Applied(Mark(observer.subject.signer.owner, fingerprint, None, record.withheld, key=record.key))
