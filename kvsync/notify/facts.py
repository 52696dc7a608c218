"""Derives notices from the result of a pass."""

from __future__ import annotations

from collections.abc import Collection

from kvsync.config.model import NoticeKind
from kvsync.model.entry import Target
from kvsync.model.result import PassResult
from kvsync.notify.model import HEALED, STILL, Fact, Facts


class FactExtractor:
    """Counts the failures of each target."""

    def __init__(self) -> None:
        self._failures: dict[Target, int] = {}

    def facts(self, result: PassResult) -> Facts:
        """The current facts after a pass. One that ended in an error has not seen whether the target drifted or is parked."""
        failed = {NoticeKind.FAILED: self._failed(result)}
        if result.error is not None:
            return failed
        return {
            NoticeKind.DRIFT: _drift(result),
            NoticeKind.PARKED: _parked(result),
            **failed,
        }

    def keep(self, targets: Collection[Target]) -> None:
        """Forget all targets but these."""
        for target in self._failures.keys() - set(targets):
            del self._failures[target]

    def _failed(self, result: PassResult) -> Fact | None:
        if result.ok:
            self._failures.pop(result.target, None)
            return None
        count = self._failures[result.target] = self._failures.get(result.target, 0) + 1
        error = result.message or f"{result.failed:,} changes failed; see the log or kvsync history"
        return Fact(
            NoticeKind.FAILED,
            result.at,
            error=error,
            code=result.code,
            attempts=count,
            unavailable=result.unavailable,
            retryable=result.retryable and not result.unavailable,
        )


def _parked(result: PassResult) -> Fact | None:
    if not result.parked:
        return None
    return Fact(NoticeKind.PARKED, result.at, result.digest, reasons=result.parked)


def _drift(result: PassResult) -> Fact | None:
    counts = {cause: count for cause, count in result.drift.items() if count}
    if not counts:
        return None
    which = HEALED if result.ok and not result.pending else STILL
    return Fact(NoticeKind.DRIFT, result.at, which, drift=counts)
