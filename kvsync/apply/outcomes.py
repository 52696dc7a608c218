"""Records the outcome of every change, in the journal and in the report. Nothing is sent before its intent is recorded.

Outcomes are committed together: after `LONGEST_WAIT` seconds, or with the 64th. A run that is killed before leaves their
intents open, as if the responses had not arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final, NamedTuple

from kvsync.apply.model import ApplyReport, PendingStep, RefusedChange, Step
from kvsync.apply.ports import RunPort
from kvsync.apply.read_back import kept_etag, shown_etag
from kvsync.errors import StateDirError, StoreError
from kvsync.model.capabilities import Marks
from kvsync.model.change import Action, Class, Outcome, OutcomeKind
from kvsync.model.entry import ENDED, Applied, Identity, Mark
from kvsync.model.place import LocatedTarget
from kvsync.state.records import Intent, Settled
from kvsync.stores.base import Store
from kvsync.util.clock import Clock
from kvsync.util.redaction import REDACTOR

MOST_TOGETHER: Final = 64
"""Steps whose intents are committed together although each has a call of its own, and outcomes that wait for one commit."""

LONGEST_WAIT: Final = 0.05
"""Seconds after which outcomes are committed, however few they are."""


class StepResult(NamedTuple):
    """How one step ended. `etag` is the version that our write made. `is_done` says that the store confirmed the write,
    although reading it back showed something else; `is_unknown` that it may or may not have been written."""

    work: PendingStep
    kind: OutcomeKind
    error: str | None = None
    etag: str | None = None
    quarantine: bool = False
    is_done: bool = False
    is_unknown: bool = False

    @property
    def shown_kind(self) -> OutcomeKind:
        """The kind of the outcome: a failed write that may have been carried out all the same is not called failed."""
        return OutcomeKind.UNKNOWN if self.is_unknown and self.kind is OutcomeKind.FAILED else self.kind


class OutcomeRecorder:
    """The outcomes of one run on one target, and its journal."""

    def __init__(
        self,
        store: Store,
        located: LocatedTarget,
        run: RunPort,
        steps: Sequence[Step],
        progress: Callable[[int], None],
        clock: Clock,
    ) -> None:
        self._store, self._located, self._run, self._progress = store, located, run, progress
        self._steps, self._clock = steps, clock
        self._by_ledger = store.capabilities.marks is Marks.LEDGER
        self._outcomes: list[Outcome | None] = [None] * len(steps)
        self._quarantined: list[RefusedChange] = []
        self._reached: set[int] = set()
        self._waiting: list[Settled] = []
        self._timer: asyncio.TimerHandle | None = None
        self._failure: StateDirError | None = None

    def intend(self, works: Iterable[PendingStep]) -> None:
        """Commit what is about to be written. Raises StateDirError: then none of it may be sent."""
        if self._failure is not None:
            raise self._failure
        fresh = [work for work in works if not work.recorded]
        if not fresh:
            return
        self._run.intend(self._located, [_intent(work) for work in fresh])
        for work in fresh:
            work.recorded = True

    def close(self, endings: Sequence[StepResult]) -> None:
        """Record how steps ended; it is committed soon (see `flush`). Raises StateDirError."""
        if not endings:
            return
        settled = []
        for ending in endings:
            work = ending.work
            sensitive, kind, error = work.approved.sensitive, ending.kind, ending.error
            etag = kept = ending.etag
            if sensitive:
                etag = shown_etag(etag, sensitive=sensitive, capabilities=self._store.capabilities)
                kept = kept_etag(kept, sensitive=sensitive, store=self._store)
                error = REDACTOR.redact_foreign(error) if error else error
            if ending.is_unknown:
                kind = ending.shown_kind
            outcome = Outcome(work.change.identity, work.approved.action, kind, error, etag)
            self._outcomes[work.index] = outcome
            if work.lost or ending.is_done or ending.kind in _MAY_REACH:
                self._reached.add(work.index)
            if ending.quarantine:
                self._quarantined.append(RefusedChange(work.change, error or ""))
            if ending.is_unknown and self._by_ledger:
                continue  # the intent stays open: the next pass finds out, for nothing else would say that the entry is ours
            record = self._settled(ending, outcome, kept)
            if work.recorded or record.gone or record.applied is not None:
                settled.append(record)
        self._commit_soon(settled)
        self._progress(len(endings))

    def close_unsent(self, works: Iterable[PendingStep], reason: str) -> None:
        """Record that steps were not sent, for this reason, although their intents are committed. Raises StateDirError."""
        left = [work for work in works if work.recorded and self.is_open(work)]
        self.close([StepResult(work, OutcomeKind.NOT_ATTEMPTED, reason) for work in left])

    def flush(self) -> None:
        """Commit the outcomes that wait for it. Raises StateDirError."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._failure is not None:
            raise self._failure
        settled, self._waiting = self._waiting, []
        if settled:
            self._run.settle(self._located, settled)

    @contextmanager
    def flushed_on_failure(self) -> Iterator[None]:
        """Commit what is known of the calls that ended, even if the block raises."""
        try:
            yield
        except BaseException:
            with suppress(StateDirError):
                self.flush()
            raise

    def _commit_soon(self, settled: Sequence[Settled]) -> None:
        self._waiting += settled
        if len(self._waiting) >= MOST_TOGETHER:
            self.flush()
        elif self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LONGEST_WAIT, self._flush_late)

    def _flush_late(self) -> None:
        """Commit outcomes that waited long enough. A failure is raised by whatever is recorded next."""
        try:
            self.flush()
        except StateDirError as error:
            self._failure = error

    def is_open(self, work: PendingStep) -> bool:
        """True until the outcome of this step is known."""
        return self._outcomes[work.index] is None

    def outcome(self, work: PendingStep) -> Outcome | None:
        """How this step ended, None until it has."""
        return self._outcomes[work.index]

    def may_be_written(self, work: PendingStep) -> bool:
        """True if this step has reached the store, or may have, even if something else was there afterwards."""
        return work.index in self._reached

    def report(self, store_error: StoreError | None, reason: str) -> ApplyReport:
        """One outcome for each step, in order; unsent steps are `not-attempted` for this reason."""
        outcomes = tuple(
            outcome or _not_attempted(step.change.identity, step, reason)
            for step, outcome in zip(self._steps, self._outcomes, strict=True)
        )
        return ApplyReport(outcomes, tuple(self._quarantined), store_error)

    def _settled(self, ending: StepResult, outcome: Outcome, etag: str | None) -> Settled:
        work, sent = ending.work, ending.work.sent
        is_applied = outcome.kind is OutcomeKind.APPLIED
        if work.is_delete and work.change.cause is Class.EXPIRED and outcome.kind in _GONE:
            return Settled(outcome, _ended(work))
        if work.is_delete and outcome.kind is OutcomeKind.UNCHANGED:
            return self._gone(work, outcome, is_certain=False)
        if sent is None or not (is_applied or (ending.is_done and self._by_ledger)):
            return Settled(outcome)
        if work.change.action is Action.RELEASE:
            return Settled(outcome, gone=True)
        if sent.content is None or sent.mark is None:
            return self._gone(work, outcome, is_certain=is_applied and not work.lost)
        if work.change.cause is Class.TAKEN and _is_transfer(work):
            return Settled(outcome, _transferred(work, sent.mark, etag))
        unseen_since = None if is_applied or _was_ours(work) else self._clock.now()
        return Settled(outcome, Applied(sent.mark, etag, sent.expires_at, unseen_since))

    def _gone(self, work: PendingStep, outcome: Outcome, *, is_certain: bool) -> Settled:
        """The ledger row of an entry that no longer exists. If only the ledger knows what is ours, the row is kept unless the
        store confirmed the delete: a read may be late, and an entry that becomes visible again must not be foreign."""
        before = work.change.before
        if is_certain or not self._by_ledger or before is None or before.mark is None:
            return Settled(outcome, gone=True)
        return Settled(outcome, Applied(before.mark, None, before.expires_at, self._clock.now()))


def _not_attempted(identity: Identity, step: Step, reason: str) -> Outcome:
    return Outcome(identity, step.change.action, OutcomeKind.NOT_ATTEMPTED, reason)


def _intent(work: PendingStep) -> Intent:
    """The intent of a step. The journal keeps no value of a sensitive entry."""
    change = work.change
    return Intent(
        change.identity,
        change.action,
        change.cause,
        work.previous,
        change.after.fingerprint if change.after is not None else None,
        change.sensitive,
        str(change.origin) if change.origin is not None else None,
    )


_MAY_REACH: Final = (OutcomeKind.APPLIED, OutcomeKind.FAILED, OutcomeKind.UNKNOWN)
"""Outcomes of steps that were sent to the store."""

_GONE: Final = (OutcomeKind.APPLIED, OutcomeKind.UNCHANGED)
"""Outcomes after which a deleted entry does not exist."""


def _was_ours(work: PendingStep) -> bool:
    """True if the entry was ours before this write, so that something else in its place is drift."""
    before = work.change.before
    return before is not None and before.mark is not None


def _is_transfer(work: PendingStep) -> bool:
    """True if the entry is taken over from another owner by the ledger alone."""
    before = work.change.before
    is_recorded = before is not None and before.mark is not None and before.mark.is_recorded
    return is_recorded and work.change.cause is Class.TAKEN and work.change.action is Action.ADOPT


def _transferred(work: PendingStep, mark: Mark, etag: str | None) -> Applied:
    """The row of the previous owner with ours. What was applied last stays known: drift in the store is drift afterwards."""
    before = work.change.before
    assert before is not None
    assert before.mark is not None
    is_as_applied = before.fingerprint is not None and before.mark.matches(before.fingerprint)
    return Applied(replace(before.mark, owner=mark.owner), etag if is_as_applied else None, before.expires_at)


def _ended(work: PendingStep) -> Applied | None:
    """The ledger row of an entry whose life is over, so that its end does not count as a loss."""
    before = work.change.before
    if before is None or before.mark is None:
        return None
    return Applied(before.mark, ENDED, before.expires_at)
