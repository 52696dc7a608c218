"""Plans and reports of the last pass of each target, bounded and redacted for the status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from kvsync.errors import StateDirError
from kvsync.model.entry import Target
from kvsync.model.plan import TargetReport
from kvsync.rendering.words import name
from kvsync.state import StateDir
from kvsync.status.assemble import LastSeen, TargetRecord
from kvsync.status.pending_rows import MOST_ROWS, in_sync_now, pending_plan, unhealed
from kvsync.status.snapshot import EndView, ProcessView
from kvsync.util.clock import Clock

MOST_ROWS_IN_ALL: Final = 5_000
"""Rows of pending plans, over all targets: some twenty megabytes at worst."""


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """What stays the same while a collector lives. `redact` takes secrets out of every text that is kept."""

    process: ProcessView
    state: StateDir
    clock: Clock
    redact: Callable[[str], str]


class TargetReports:
    """Adds reports to the records of targets, and bounds the rows of pending plans over all of them."""

    def __init__(self, settings: CollectorSettings) -> None:
        self._settings = settings
        self.rows = 0

    def drop(self, target_record: TargetRecord) -> None:
        """Forget the rows of a target that is no longer managed."""
        self.rows -= target_record.rows

    def added(self, target_record: TargetRecord, report: TargetReport, *, has_run: bool) -> TargetRecord:
        """What is known of a target, with what a pass saw of it and did."""
        room = min(MOST_ROWS, MOST_ROWS_IN_ALL - self.rows + target_record.rows)
        plan = pending_plan(report, self._settings.process.owner, self._settings.redact, room)
        after = replace(
            target_record, seen=self._seen(report, target_record.seen, news=bool(plan or has_run)), plan=plan
        )
        if report.outcomes:
            fresh = Counter((one.action.value, one.kind.value) for one in report.outcomes)
            after = replace(after, totals=Counter(target_record.totals) + fresh)
        self.rows += after.rows - target_record.rows
        return after

    def _seen(self, report: TargetReport, before: LastSeen | None, *, news: bool) -> LastSeen:
        """What is known of a target after a pass. The ledger is asked only when there is news, or the end has come."""
        plan, known, now = report.plan, before or LastSeen(), self._settings.clock.now()
        is_old = known.end is not None and known.end.at <= now
        end = self._end(plan.target, now) if before is None or news or is_old else known.end
        if plan.error is not None or plan.problems:  # not compared: what was known still is the best there is
            return replace(known, type=plan.type, end=end)
        unchanged = plan.unchanged + in_sync_now(report)
        return LastSeen(plan.type, True, unchanged, plan.foreign, plan.orphans, unhealed(report), end)

    def _end(self, target: Target, now: float) -> EndView | None:
        with suppress(StateDirError):
            known = self._settings.state.places.known(target)
            found = self._settings.state.ledger.nearest_end(known.place, now) if known is not None else None
            return EndView(self._settings.redact(name(found[0])), found[1]) if found is not None else None
        return None
