"""What became of every step, in the journal and in the report. Nothing is sent before its intent is in here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from kvsync.apply.compare import kept_etag, shown_etag
from kvsync.apply.model import ApplyReport, Quarantined, Step, Work
from kvsync.apply.ports import RunPort
from kvsync.core.model import ENDED, Applied, Class, Identity, Outcome, OutcomeKind, Target
from kvsync.errors import StoreError
from kvsync.state.records import Intent, Settled
from kvsync.stores.base import Store


class Ending(NamedTuple):
    """How one work ended: `etag` is the version our write made."""

    work: Work
    kind: OutcomeKind
    error: str | None = None
    etag: str | None = None
    quarantine: bool = False


class Book:
    """Keeps the outcomes of one run on one target, and its journal."""

    def __init__(
        self, store: Store, target: Target, run: RunPort, steps: Sequence[Step], progress: Callable[[int], None]
    ) -> None:
        self._store, self._target, self._run, self._progress = store, target, run, progress
        self._steps = steps
        self._outcomes: list[Outcome | None] = [None] * len(steps)
        self._quarantined: list[Quarantined] = []

    def intend(self, works: Iterable[Work]) -> None:
        """Commit what is about to be written. Raises StateDirError: then nothing of it may be sent."""
        fresh = [work for work in works if not work.recorded]
        if not fresh:
            return
        self._run.intend(self._target, [_intent(work) for work in fresh])
        for work in fresh:
            work.recorded = True

    def close(self, endings: Sequence[Ending]) -> None:
        """Commit how these ended. Raises StateDirError."""
        if not endings:
            return
        settled = []
        for ending in endings:
            work = ending.work
            sensitive = work.approved.sensitive
            etag = shown_etag(ending.etag, sensitive=sensitive, capabilities=self._store.capabilities)
            outcome = Outcome(work.identity, work.approved.action, ending.kind, ending.error, etag)
            self._outcomes[work.index] = outcome
            if ending.quarantine:
                self._quarantined.append(Quarantined(work.approved, ending.error or ""))
            record = _settled(work, outcome, kept_etag(ending.etag, sensitive=sensitive, store=self._store))
            if work.recorded or record.gone:
                settled.append(record)
        if settled:
            self._run.settle(self._target, settled)
        self._progress(len(endings))

    def is_open(self, work: Work) -> bool:
        """True while nothing is known of how this work ended."""
        return self._outcomes[work.index] is None

    def outcome(self, work: Work) -> Outcome | None:
        """How this work ended, None while it has not."""
        return self._outcomes[work.index]

    def may_be_written(self, work: Work) -> bool:
        """True when this work has reached the store, or may have."""
        outcome = self._outcomes[work.index]
        return outcome is not None and outcome.kind in (OutcomeKind.APPLIED, OutcomeKind.FAILED)

    def report(self, store_error: StoreError | None, reason: str) -> ApplyReport:
        """One outcome for each step, in order; what was never sent is `not-attempted` for this reason."""
        outcomes = tuple(
            outcome or _not_attempted(step.change.identity, step, reason)
            for step, outcome in zip(self._steps, self._outcomes, strict=True)
        )
        return ApplyReport(outcomes, tuple(self._quarantined), store_error)


def _not_attempted(identity: Identity, step: Step, reason: str) -> Outcome:
    return Outcome(identity, step.change.action, OutcomeKind.NOT_ATTEMPTED, reason)


def _intent(work: Work) -> Intent:
    """The intent of a work; of a sensitive one the journal keeps no value, whatever it is given."""
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


def _settled(work: Work, outcome: Outcome, etag: str | None) -> Settled:
    if (
        work.is_delete
        and work.change.cause is Class.EXPIRED
        and outcome.kind in (OutcomeKind.APPLIED, OutcomeKind.UNCHANGED)
    ):
        return Settled(outcome, _ended(work))
    if outcome.kind is OutcomeKind.UNCHANGED:
        return Settled(outcome, gone=work.is_delete)
    sent = work.sent
    if outcome.kind is not OutcomeKind.APPLIED or sent is None:
        return Settled(outcome)
    if sent.content is None or sent.mark is None:
        return Settled(outcome, gone=True)
    return Settled(outcome, Applied(sent.mark, etag, sent.expires_at))


def _ended(work: Work) -> Applied | None:
    """What the ledger keeps of an entry whose life is over, so that its end is not taken for a loss."""
    before = work.change.before
    if before is None or before.mark is None:
        return None
    return Applied(before.mark, ENDED, before.expires_at)
