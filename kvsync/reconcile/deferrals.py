"""Deferred entries of a target: quarantined (rejected by the store), contended (another writer keeps changing them back) and
undone ones. A change of the entry in the files, or an operator, ends the deferral."""

from __future__ import annotations

from collections.abc import Mapping

from kvsync.apply.model import ApplyReport
from kvsync.logs import get_logger
from kvsync.model.change import DRIFT_CLASSES, Action, Change, OutcomeKind
from kvsync.model.desired import Desired
from kvsync.model.digest import entry_digest, write_digest
from kvsync.model.entry import Identity
from kvsync.model.plan import TargetPlan
from kvsync.reconcile.context import PassContext
from kvsync.state import UndoneEntry

_log = get_logger()


class Deferrals:
    """The deferred entries of one target, as of the beginning of its pass. `key` identifies its place in the state directory.
    With `retry`, none of them waits."""

    def __init__(self, desired: Desired, pass_context: PassContext, key: str, *, retry: bool) -> None:
        self._desired, self._target, self._key, self._retry = desired, desired.target, key, retry
        state = pass_context.state
        self._quarantine, self._contended, self._undone = state.quarantine, state.contended, state.undone
        self._now = pass_context.clock.now()
        self._refused = self._quarantine.all(self._key)
        self._healed = self._contended.all(self._key)
        undone = self._undone.all(self._key)
        self._taken_back = {one: known for one, known in undone.items() if self._is_unchanged(one, known)}
        self._let_go = undone.keys() - self._taken_back.keys()
        self._planned: set[Identity] = set()  # the refused writes that the plan asks for again

    @property
    def is_empty(self) -> bool:
        """True if no change need wait."""
        return not (self._taken_back or self._refused or self._healed)

    @property
    def has_records(self) -> bool:
        """True if anything is recorded, also what no longer defers a change and is dropped by a pass over all entries."""
        return bool(self._let_go) or not self.is_empty

    def reason(self, change: Change) -> str | None:
        """Why a change must wait, with the command that ends the wait; None if it need not."""
        undone = self._taken_back.get(change.identity)
        if undone is not None and change.action is not Action.RENEW:
            how = self._how_to_retry(change.identity).replace("retry now", "apply it again")
            return f"undone: kvsync undo reverted run {undone.run}; it stays undone until its file changes{how}"
        refused = self._refused.get(change.identity)
        if refused is not None and refused.matches(write_digest(change)):
            self._planned.add(change.identity)
            if refused.waits(self._now) and not self._retry:
                how = self._how_to_retry(change.identity)
                return f"the store refused it; kvsync waits before it retries{how}; the error was: {refused.error}"
        if change.cause in DRIFT_CLASSES and self._is_contended(change) and not self._retry:
            how = self._how_to_retry(change.identity)
            return f"contended: another writer keeps changing it back; kvsync waits before it retries{how}"
        return None

    def next_moment(self) -> float | None:
        """When the first wait ends, None if nothing waits."""
        refused = (self._refused[identity] for identity in self._planned)
        healed = (known for identity, known in self._healed.items() if self._is_current(identity))
        ends = [one.until for one in refused if one.waits(self._now)]
        return min([*ends, *(one.until for one in healed if one.waits(self._now))], default=None)

    def drop_outdated(self) -> None:
        """Drop deferrals of changes that this plan no longer contains. Raises StateDirError."""
        self._quarantine.clear(self._key, self._refused.keys() - self._planned)
        self._contended.remove(self._key, [one for one in self._healed if not self._is_current(one)])
        self._undone.remove(self._key, self._let_go)

    def keep(self, plan: TargetPlan, report: ApplyReport, now: float) -> None:
        """Record what the store rejected, and how often drift was healed. Raises StateDirError."""
        for refused in report.quarantined:
            identity, digest = refused.change.identity, write_digest(refused.change)
            held = self._quarantine.put(self._key, identity, digest, refused.error, now)
            self._report("entry.quarantined", identity, error=held.error, retry_in=held.until - now)
        done = {outcome.identity for outcome in report.outcomes if outcome.kind is OutcomeKind.APPLIED}
        self._quarantine.clear(self._key, done & self._refused.keys())
        healed = [one for one in plan.changes if one.identity in done and one.cause in DRIFT_CLASSES]
        if healed:
            self._count({change.identity: entry_digest(change.after) for change in healed}, now)

    def _count(self, digests: Mapping[Identity, bytes], now: float) -> None:
        for identity, known in self._contended.record_heals(self._key, digests, now).items():
            self._report("entry.contended", identity, times=known.count, retry_in=known.until - now)

    def _is_contended(self, change: Change) -> bool:
        known = self._healed.get(change.identity)
        return known is not None and known.waits(self._now) and self._is_current(change.identity)

    def _is_current(self, identity: Identity) -> bool:
        """True if the counted heals of an entry are for its present desired state."""
        digest = entry_digest(self._desired.entries.get(identity))
        return self._contended.matches(self._healed[identity], digest)

    def _is_unchanged(self, identity: Identity, known: UndoneEntry) -> bool:
        """True if the files still ask the same of an undone entry as when it was undone."""
        return self._undone.matches(known, entry_digest(self._desired.entries.get(identity)))

    def _how_to_retry(self, identity: Identity) -> str:
        from glob import escape  # a target without deferred entries does not pay for it
        from shlex import quote

        pattern = quote(escape(identity.key))
        return f" (to retry now: kvsync resume {quote(str(self._target))} --key {pattern})"

    def _report(self, event: str, identity: Identity, **fields: object) -> None:
        entry = {"key": identity.key, "label": identity.label}
        _log.warning(event, store=self._target.store, namespace=self._target.namespace, **entry, **fields)
