"""State of a target between passes, read before planning and written afterwards."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING

from kvsync.apply.model import ApplyReport
from kvsync.model.capabilities import Lifetimes, Marks
from kvsync.model.change import Action, Change
from kvsync.model.desired import Desired
from kvsync.model.entry import Actual, Applied, Identity
from kvsync.model.plan import TargetPlan
from kvsync.model.snapshot import Snapshot, Version, settled_versions
from kvsync.planning.difference import CLOCK_SLACK
from kvsync.planning.pass_target import PassTarget
from kvsync.reconcile.clean_pass import COUNTED, OWNED, config_digest, current_clean_pass
from kvsync.reconcile.context import PassContext
from kvsync.reconcile.deferrals import Deferrals
from kvsync.reconcile.edited import EditedTarget, is_exact
from kvsync.reconcile.observer import Observer
from kvsync.state import CleanPass
from kvsync.stores.base import Store
from kvsync.util.pieces import pieces

if TYPE_CHECKING:
    from kvsync.state.ledger import RecordedVersions

UNSEEN_SECONDS = 90 * 86400.0
"""How long the ledger of a store without marks keeps an entry that is neither desired nor listed."""

_AT_ONCE = 2_000
"""Entries that are added to the ledger in one transaction, while all others wait for the state directory."""


class PassState:
    """The state of one target, as of its pass."""

    def __init__(
        self, desired: Desired, pass_context: PassContext, store: Store, subject: PassTarget, *, retry: bool = False
    ) -> None:
        self._desired, self._context, self._capabilities = desired, pass_context, store.capabilities
        self._store_clock = store.context.clock
        self._config = config_digest(subject.signer.owner, subject.signer.keys, store.config)
        self._subject, self._key, self._state = subject, subject.key, pass_context.state
        self._retry = retry
        self._undesired_since: Mapping[Identity, float] | None = None

    @cached_property
    def _deferrals(self) -> Deferrals:
        """What is deferred, read when the first difference is judged: an unchanged target does not pay for it."""
        return Deferrals(self._desired, self._context, self._key, retry=self._retry)

    def clean_pass(self, now: float) -> CleanPass | None:
        """What the last clean pass saw, unless files or time have moved on."""
        return current_clean_pass(self._state, self._key, (self._desired.digest, self._config), now)

    def edited(self, now: float) -> EditedTarget | None:
        """What an edit changed since the last clean pass, if that is all that a pass has to look at. Raises StateDirError."""
        for edit in self._desired.edits:
            clean = current_clean_pass(self._state, self._key, (edit.digest, self._config), now)
            if clean is not None and is_exact(clean, edit, self._desired) and not self._deferrals.has_records:
                return EditedTarget(clean, edit)
        return None

    def settling(self, now: float) -> dict[Identity, float]:
        """Entries that were written so recently that a listing may not show it yet, and until when that may be. None once a
        clean pass has seen all writes, and none of an earlier term as leader: another replica may have written since."""
        window = self._capabilities.settle
        if window <= 0 or self._state.clean_passes.get(self._key, self._desired.digest, self._config) is not None:
            return {}
        since = max(now - window, self._context.fence.led_since)
        written = self._state.journal.written_since(self._subject.located, since)
        recent = now + window  # a machine that started in the past makes everything look as if written just now
        return {identity: moment + window for identity, moment in written.items() if moment <= recent}

    def overwritten(self, identities: Collection[Identity], now: float) -> Mapping[Identity, Sequence[Actual | None]]:
        """What a late listing may show of settling entries: everything that was overwritten in that time."""
        if not identities:
            return {}
        since = now - self._capabilities.settle
        return self._state.journal.overwritten_since(self._subject.located, identities, since)

    def undesired_since(self) -> dict[Identity, float]:
        """When entries became undesired."""
        self._undesired_since = self._state.removals.since(self._key)
        return self._undesired_since

    def blocked(self, change: Change) -> str | None:
        """Why a change must wait: the store rejected it, or another writer keeps changing the entry back."""
        return self._deferrals.reason(change)

    @property
    def may_block(self) -> bool:
        """False if `blocked` has no reason for any change."""
        return not self._deferrals.is_empty

    def next_moment(self, plan: TargetPlan) -> float | None:
        """When the target needs a pass although nothing changes, including the ends of waits."""
        moments = (plan.next_moment, self._deferrals.next_moment())
        return min((moment for moment in moments if moment is not None), default=None)

    def keep_removals(self, plan: TargetPlan, now: float, *, has_grace: bool) -> None:
        """Record when the entries that this plan would delete became undesired, and drop those that are desired again: an
        earlier grace period does not count."""
        changes = (*plan.changes, *plan.reported) if has_grace else ()
        going = [change.identity for change in changes if change.action is Action.DELETE]
        self._undesired_since = self._state.removals.update(self._key, going, now, self._undesired_since)

    def keep_clean_pass(self, plan: TargetPlan, snapshot: Snapshot, owned: int, *, is_unsure: bool) -> None:
        """Record a clean pass, so that the next one can ask the store whether anything changed. `owned` counts the entries in
        the store that are ours. A pass is not recorded if it is clean only because the listing is late, if the listing lacks
        entries that exist, or if the store's ledger must still be written."""
        if plan.changes or plan.refused or plan.reported or plan.parked or is_unsure or snapshot.token is None:
            return
        counts = {name: getattr(plan, name) for name in COUNTED} | {OWNED: owned}
        clean = CleanPass(snapshot.token, plan.next_moment, counts)
        self._state.clean_passes.put(self._key, self._desired.digest, self._config, clean)

    def drop_clean_pass(self) -> None:
        """Drop the record of the last clean pass, before the store is written."""
        self._state.clean_passes.drop(self._key)

    def backfill_ledger(
        self, plan: TargetPlan, snapshot: Snapshot, observer: Observer, settling: Iterable[Identity]
    ) -> None:
        """Add entries to the ledger that are ours and as desired but not in it, as after a fresh checkout, so that their loss
        is noticed from now on. Entries that neither files nor store have are dropped, and so are deferrals of changes that are
        no longer planned."""
        if not snapshot.complete:
            return
        self._deferrals.drop_outdated()
        pending = {change.identity for change in (*plan.changes, *plan.reported)}.union(settling)
        pending |= {refusal.identity for refusal in plan.refused}
        by_ledger = self._capabilities.marks is Marks.LEDGER
        known = self._state.ledger.all(self._key) if by_ledger else self._state.ledger.versions(self._key)
        if isinstance(known, Mapping):
            news = {identity: one for identity, one in self._read(snapshot, observer, known) if identity not in pending}
        else:
            news = dict(self._marked(snapshot, known, pending))
        undesired = known.keys() - self._desired.entries.keys() - pending
        unseen = [identity for identity in undesired if identity not in snapshot.entries]
        missed, gone = self._forget(known, unseen) if isinstance(known, Mapping) else ({}, unseen)
        # In pieces: nobody else can use the state directory while one is written, and each piece is right on its own.
        writes = zip_longest(pieces((news | missed).items(), _AT_ONCE), pieces(gone, _AT_ONCE), fillvalue=())
        for known_now, gone_now in writes:
            self._state.ledger.record(self._key, dict(known_now), gone_now)

    def _forget(
        self, known: Mapping[Identity, Applied], unseen: Iterable[Identity]
    ) -> tuple[dict[Identity, Applied], list[Identity]]:
        """Rows to keep of a ledger that alone knows what is ours, and rows to drop, of entries that neither files nor store
        have: a stale listing must not make an entry foreign."""
        now, last = self._store_clock.now(), {identity: known[identity] for identity in unseen}
        gone = [identity for identity, one in last.items() if self._is_over(one, now)]
        fresh = {identity: one for identity, one in last.items() if one.unseen_since is None}
        for identity in gone:
            fresh.pop(identity, None)
        return {identity: replace(one, unseen_since=now) for identity, one in fresh.items()}, gone

    def _is_over(self, last: Applied, now: float) -> bool:
        """True if an invisible entry cannot come back as ours: kvsync or the store ended it, or it is too long ago."""
        is_native = self._capabilities.lifetimes is Lifetimes.NATIVE
        if is_native and last.expires_at is not None and last.expires_at + CLOCK_SLACK < now:
            return True
        return last.has_ended or (last.unseen_since is not None and last.unseen_since < now - UNSEEN_SECONDS)

    def _marked(
        self, snapshot: Snapshot, known: RecordedVersions, pending: Set[Identity]
    ) -> Iterator[tuple[Identity, Applied]]:
        """What the marks in the store say that the ledger does not, of desired entries that are not pending. Nearly all are
        settled and recorded, so only the others are built."""
        desired = self._desired.entries.keys()
        found = known.differing(settled_versions(snapshot))
        settled = [one for one in found if one.identity in desired and one.identity not in pending]
        claimed = self._claimed(snapshot, desired - snapshot.settled.keys() - pending)
        versions = [*settled, *known.differing(claimed)]
        applied = self._state.ledger.get(self._key, [one.identity for one in versions])
        for identity, etag, fingerprint in versions:
            last, actual = applied.get(identity), snapshot.entries[identity]
            if last is not None and last.etag == etag and last.matches(fingerprint):
                continue
            if actual.mark is not None:
                mark = replace(actual.mark, fingerprint=fingerprint, seal=None)
                yield identity, Applied(mark, etag, actual.expires_at)

    def _claimed(self, snapshot: Snapshot, identities: Iterable[Identity]) -> Iterator[Version]:
        """The versions of those of the entries that have a mark of ours."""
        for identity in identities:
            actual = snapshot.entries.get(identity)
            if actual is not None and actual.fingerprint and self._subject.signer.claims(actual):
                yield Version(identity, actual.etag, actual.fingerprint)

    def _read(
        self, snapshot: Snapshot, observer: Observer, known: Mapping[Identity, Applied]
    ) -> Iterable[tuple[Identity, Applied]]:
        """What a ledger that alone knows what is ours learns: entries that had to be read and are still ours, so that the next
        pass need not read them, and entries that must be sealed with another key."""
        yield from self._sealed(known)
        for identity in observer.read_entries.keys() | _unseen(known):
            actual = observer.read_entries.get(identity) or snapshot.entries.get(identity)
            last, entry = known.get(identity), self._desired.entries.get(identity)
            if last is None or actual is None or actual.mark is None or actual.fingerprint is None:
                continue
            if entry is not None and actual.fingerprint == entry.fingerprint:
                mark = replace(last.mark, fingerprint=entry.fingerprint, key=None)
                etag = observer.kept_etag(actual, sensitive=last.mark.sensitive)
                if last.etag != etag or last.unseen_since is not None or not last.matches(entry.fingerprint):
                    yield identity, replace(last, mark=mark, etag=etag, unseen_since=None)
            elif last.unseen_since is not None and last.matches(actual.fingerprint):
                yield identity, replace(last, unseen_since=None)

    def _sealed(self, known: Mapping[Identity, Applied]) -> Iterable[tuple[Identity, Applied]]:
        """Sensitive entries whose fingerprint not all machines of the owner can compare, although there is an owner key."""
        keys = self._state.sealing_keys(self._key)
        for identity, last in known.items() if keys.shared else ():
            entry = self._desired.entries.get(identity)
            if entry is None or last.mark.key is None or last.mark.key == keys.current:
                continue
            if last.matches(entry.fingerprint):
                yield identity, replace(last, mark=replace(last.mark, fingerprint=entry.fingerprint, key=None))

    def keep_report(self, plan: TargetPlan, report: ApplyReport, now: float) -> None:
        """Record what the store rejected, and how often drift was healed."""
        self._deferrals.keep(plan, report, now)


def _unseen(known: Mapping[Identity, Applied]) -> set[Identity]:
    """The entries that were not visible in an earlier pass."""
    return {identity for identity, last in known.items() if last.unseen_since is not None}
