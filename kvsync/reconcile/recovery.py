"""What became of the changes that a killed run sent and could not note any more.

Where marks live beside the entries the store itself says what is ours. Where only the ledger knows, an entry that was written
just before the end would be nobody's; so the journal's open intents are held against the store before anything is planned.
"""

from __future__ import annotations

from kvsync.core.model import Actual, Applied, Identity, Mark, OutcomeKind
from kvsync.reconcile.observer import Observer
from kvsync.state import ChangeRecord, StateDir


async def recover(observer: Observer, state: StateDir) -> None:
    """Close the open intents of killed runs on the observer's target. Raises StoreError, StateDirError."""
    records = {record.identity: record for record in state.journal.cut_off(observer.subject.located)}
    if not records:
        return
    fresh = await observer.read(list(records))
    outcomes: dict[Identity, OutcomeKind] = {}
    applied: dict[Identity, Applied | None] = {}
    for identity, record in records.items():
        found = fresh.get(identity)
        has_landed = _has_landed(record, found)
        outcomes[identity] = OutcomeKind.APPLIED if has_landed else OutcomeKind.NOT_ATTEMPTED
        if has_landed:
            applied[identity] = _applied(record, found, observer)
    state.journal.resolve(observer.subject.located, outcomes, applied)


def _has_landed(record: ChangeRecord, found: Actual | None) -> bool:
    if record.after is None or found is None:
        return record.after is None and found is None
    return found.fingerprint is not None and record.matches(found.fingerprint)


def _applied(record: ChangeRecord, found: Actual | None, observer: Observer) -> Applied | None:
    """What the ledger says from now on. The lifetime that was asked for is not in the journal: where it is of importance, the
    plan will find it changed and write it again."""
    if found is None or found.fingerprint is None:
        return None
    ttl = found.mark.ttl if found.mark is not None else None
    etag = observer.kept_etag(found, sensitive=record.withheld)
    owner = observer.subject.signer.owner
    return Applied(Mark(owner, found.fingerprint, ttl, record.withheld), etag, found.expires_at)
