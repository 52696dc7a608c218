"""What one target's passes remember for the next: in the state directory, read before planning and written after."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b

from kvsync.apply.model import ApplyReport
from kvsync.config.model import StoreConfig
from kvsync.core.capabilities import Marks
from kvsync.core.model import (
    Action,
    Actual,
    Applied,
    Change,
    Desired,
    Identity,
    Snapshot,
)
from kvsync.core.plan import TargetPlan
from kvsync.reconcile.deferrals import Deferrals
from kvsync.reconcile.model import Surroundings
from kvsync.reconcile.observer import Observer
from kvsync.state import Memo
from kvsync.stores.base import Store

_COUNTS = ("unchanged", "foreign", "ignored", "expired")


class Memory:
    """The memory of one target, as of the moment its pass began."""

    def __init__(self, desired: Desired, around: Surroundings, store: Store, *, retry: bool = False) -> None:
        self._desired, self._around, self._capabilities = desired, around, store.capabilities
        self._config = _digest(around.owner, store.config)
        self._target, self._state = desired.target, around.state
        self._deferrals = Deferrals(desired, around, retry=retry)

    def memo(self, now: float) -> Memo | None:
        """What the last clean pass saw, unless files or time have moved on."""
        memo = self._state.memo.get(self._target, self._desired.digest, self._config)
        if memo is None or (memo.next_moment is not None and memo.next_moment <= now):
            return None
        return memo

    def settling(self, now: float) -> dict[Identity, float]:
        """What was written so short a time ago that a listing may not show it yet, and until when that may be. Nothing, once a
        clean pass has seen all that was written."""
        window = self._capabilities.settle
        if window <= 0 or self._state.memo.get(self._target, self._desired.digest, self._config) is not None:
            return {}
        written = self._state.journal.written_since(self._target, now - window)
        recent = now + window  # a clock that was set back makes everything look as if written just now
        return {identity: moment + window for identity, moment in written.items() if moment <= recent}

    def overwritten(self, identities: Collection[Identity], now: float) -> Mapping[Identity, Sequence[Actual | None]]:
        """What a late listing may show of entries that are settling: all that was overwritten in that time."""
        if not identities:
            return {}
        since = now - self._capabilities.settle
        return self._state.journal.overwritten_since(self._target, identities, since)

    def undesired_since(self) -> dict[Identity, float]:
        """Since when entries are no longer desired."""
        return self._state.removals.since(self._target)

    def blocked(self, change: Change) -> str | None:
        """Why a change must wait: the store refused it, or another writer keeps changing the entry back."""
        return self._deferrals.reason(change)

    def next_moment(self, plan: TargetPlan) -> float | None:
        """When the target needs a pass although nothing changes, waits included."""
        moments = (plan.next_moment, self._deferrals.next_moment())
        return min((moment for moment in moments if moment is not None), default=None)

    def keep_removals(self, plan: TargetPlan, now: float, *, has_grace: bool) -> None:
        """Remember since when what this plan would delete is no longer desired, and forget what is wanted again: a grace that
        began earlier is not the one that counts."""
        changes = (*plan.changes, *plan.reported) if has_grace else ()
        going = [change.identity for change in changes if change.action is Action.DELETE]
        self._state.removals.update(self._target, going, now)

    def keep_memo(self, plan: TargetPlan, snapshot: Snapshot, *, is_unsure: bool) -> None:
        """Remember a clean pass, so that the next one can ask the store whether anything changed at all; not one that is only
        clean because the listing is late, or that leaves the store's ledger to be written."""
        if plan.changes or plan.refused or plan.reported or plan.parked or is_unsure or snapshot.token is None:
            return
        counts = {name: getattr(plan, name) for name in _COUNTS}
        memo = Memo(snapshot.token, plan.next_moment, counts)
        self._state.memo.put(self._target, self._desired.digest, self._config, memo)

    def drop_memo(self) -> None:
        """Forget the clean pass, before the store is written."""
        self._state.memo.drop(self._target)

    def learn(self, plan: TargetPlan, snapshot: Snapshot, observer: Observer, settling: Iterable[Identity]) -> None:
        """Write into the ledger what is ours and in agreement with the files but unknown there, as in a fresh checkout: from
        then on its loss is known for what it is. What neither files nor store have any more is forgotten: it will be new.
        Entries are no longer deferred for what the files do not ask any more."""
        if not snapshot.complete:
            return
        self._deferrals.drop_outdated()
        pending = {change.identity for change in (*plan.changes, *plan.reported)}.union(settling)
        pending |= {refusal.identity for refusal in plan.refused}
        known: Mapping[Identity, Applied] = self._state.ledger.all(self._target)
        by_ledger = self._capabilities.marks is Marks.LEDGER
        learnt = self._read_equal(observer, known) if by_ledger else self._marked(snapshot, known)
        news = {identity: applied for identity, applied in learnt if identity not in pending}
        here = (self._desired.entries, snapshot.entries, pending)
        gone = [identity for identity in known if not any(identity in place for place in here)]
        if news or gone:
            self._state.ledger.record(self._target, news, gone)

    def _marked(self, snapshot: Snapshot, known: Mapping[Identity, Applied]) -> Iterable[tuple[Identity, Applied]]:
        """What the marks beside the entries say that the ledger does not."""
        for identity in self._desired.entries:
            actual = snapshot.entries.get(identity)
            if (
                actual is None
                or actual.mark is None
                or actual.mark.owner != self._around.owner
                or not actual.fingerprint
            ):
                continue
            if _is_news(actual, known.get(identity)):
                mark = replace(actual.mark, fingerprint=actual.fingerprint)
                yield identity, Applied(mark, actual.etag, actual.expires_at)

    def _read_equal(self, observer: Observer, known: Mapping[Identity, Applied]) -> Iterable[tuple[Identity, Applied]]:
        """What had to be read because its version was not the one in the ledger, or its fingerprint sealed with another key,
        and turned out to be as desired all the same: the next pass need not read it."""
        for identity, actual in observer.looked_at.items():
            entry, last = self._desired.entries.get(identity), known.get(identity)
            if entry is None or last is None or actual.mark is None or actual.fingerprint != entry.fingerprint:
                continue
            etag = observer.kept_etag(actual, sensitive=last.mark.sensitive)
            if last.etag != etag or not last.matches(entry.fingerprint):
                mark = replace(last.mark, fingerprint=entry.fingerprint, key=None)
                yield identity, replace(last, mark=mark, etag=etag)

    def keep_report(self, plan: TargetPlan, report: ApplyReport, now: float) -> None:
        """Remember what the store refused, and how often drift was healed."""
        self._deferrals.keep(plan, report, now)


def _digest(owner: str, store: StoreConfig) -> str:
    """Stands for what makes the same files and the same token mean something else: another owner, place or form of keys."""
    what = (owner, store.type, store.endpoint, store.key_format, sorted(store.options.items()))
    return blake2b(repr(what).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _is_news(actual: Actual, known: Applied | None) -> bool:
    return known is None or known.etag != actual.etag
