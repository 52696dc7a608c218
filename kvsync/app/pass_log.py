"""Log events of plans and reports: one event per fact, fingerprints instead of values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from kvsync.errors import ErrorCode
from kvsync.logs import get_logger
from kvsync.model.change import Change, Outcome, OutcomeKind, Refusal
from kvsync.model.entry import Identity, Target
from kvsync.model.plan import TargetPlan, TargetReport, drifted
from kvsync.model.result import FAILURES

if TYPE_CHECKING:
    from kvsync.config.model import GitSource
    from kvsync.git.model import CommitRefused, Fetched

Seal = Callable[[bytes], str]
"""How a fingerprint of a sensitive value is shown; see `StateDir.seal`."""

_log = get_logger()


class SourceLog:
    """Says what a fetch brought: each commit once, and each refusal once."""

    def __init__(self) -> None:
        self._commit: str | None = None
        self._refused: CommitRefused | None = None

    def log(self, source: GitSource, fetched: Fetched) -> bool:
        """Say it. Returns whether another commit is in force than when this was last asked."""
        place = {"url": source.url, "ref": source.ref}
        if fetched.refused is not None and fetched.refused != self._refused:
            one = fetched.refused
            fields = {
                "commit": one.commit,
                "kept": fetched.commit,
                "error": one.reason,
                "hint": one.hint,
                "code": ErrorCode.COMMIT_REJECTED,
            }
            _log.error("source.refused", **place, **fields)
        self._refused, before, self._commit = fetched.refused, self._commit, fetched.commit
        if fetched.commit == before:
            return False
        _log.info("source.fetched", **place, commit=fetched.commit, before=before, seconds=fetched.seconds)
        return True


def log_drift(plan: TargetPlan, seal: Seal) -> None:
    """Say what the store shows that neither the files nor kvsync did."""
    for change in drifted(plan):
        _log.warning(
            "drift.detected",
            **_entry(plan.target, change.identity),
            **{"class": change.cause.value},
            action=change.action.value,
            **_fingerprints(change, seal),
            origin=_text(change.origin),
        )


class KnownRefusals:
    """The refusals that were logged for each target, so that one that stays is logged once and not in each pass."""

    def __init__(self) -> None:
        self._known: dict[Target, frozenset[tuple[object, ...]]] = {}

    def new(self, plan: TargetPlan) -> Sequence[Refusal]:
        """The refusals of a plan that the plan before did not have; they are known from now on."""
        known = self._known.pop(plan.target, frozenset())
        if plan.refused:
            self._known[plan.target] = frozenset(map(_gist, plan.refused))
        return [one for one in plan.refused if _gist(one) not in known]


def _gist(refusal: Refusal) -> tuple[object, ...]:
    return refusal.identity, refusal.cause, refusal.action, refusal.reason


def log_report(report: TargetReport, run: str | None, seal: Seal, known: KnownRefusals | None = None) -> None:
    """Say what became of each change, and of the namespace; of the refusals, those that are not `known`."""
    changes = {change.identity: change for change in report.plan.changes}
    logs_all = _log.is_enabled("info")
    for outcome in report.outcomes:
        change = changes.get(outcome.identity)
        if change is not None and (logs_all or outcome.kind is not OutcomeKind.APPLIED):
            _log_outcome(report.plan.target, change, outcome, run, seal)
    if report.namespace_deleted:
        place = _text(report.plan.place)
        _log.info(
            "namespace.deleted", store=report.plan.target.store, namespace=report.plan.target.namespace, place=place
        )
    for refusal in report.plan.refused if known is None else known.new(report.plan):
        _log.warning(
            "change.refused",
            **_entry(report.plan.target, refusal.identity),
            **{"class": refusal.cause.value},
            action=refusal.action.value,
            reason=refusal.reason,
            run=run,
        )


def _log_outcome(target: Target, change: Change, outcome: Outcome, run: str | None, seal: Seal) -> None:
    fields: dict[str, Any] = {
        **_entry(target, outcome.identity),
        "class": change.cause.value,
        "action": outcome.action.value,
        "run": run,
    }
    if outcome.kind is OutcomeKind.APPLIED:
        origin = _text(change.origin)
        _log.info(
            "change.applied",
            **fields,
            reasons=_joined(change.reasons),
            etag=outcome.etag,
            **_fingerprints(change, seal),
            origin=origin,
        )
    elif outcome.kind in FAILURES:
        _log.error("change.failed", **fields, outcome=outcome.kind.value, error=outcome.error, code=outcome.code)
    elif outcome.kind in (OutcomeKind.REFUSED, OutcomeKind.SKIPPED):
        _log.warning("change.refused", **fields, outcome=outcome.kind.value, reason=outcome.error, code=outcome.code)


def _entry(target: Target, identity: Identity) -> dict[str, Any]:
    return {"store": target.store, "namespace": target.namespace, "key": identity.key, "label": identity.label}


def _fingerprints(change: Change, seal: Seal) -> dict[str, str | None]:
    show = seal if change.sensitive else bytes.hex
    before = change.before.fingerprint if change.before else None
    after = change.after.fingerprint if change.after else None
    return {"before": show(before) if before else None, "after": show(after) if after else None}


def _joined(reasons: Iterable[str]) -> str:
    return ",".join(reasons)


def _text(value: object) -> str | None:
    return str(value) if value is not None else None
