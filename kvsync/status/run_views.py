"""Runs as the status shows them: from the result of a pass, or from the journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from kvsync.errors import StateDirError
from kvsync.model.change import OutcomeKind
from kvsync.model.entry import Target
from kvsync.model.plan import NAMESPACES_DELETED, TargetReport
from kvsync.model.result import PassResult
from kvsync.state import RunRecord, StateDir
from kvsync.status.snapshot import RunView

RUNS: Final = 100
"""Most runs of a snapshot."""


def recent_runs(state: StateDir, own: Sequence[RunView]) -> tuple[RunView, ...]:
    """The newest runs, newest first: `own`, those of the passes of this process, and others that have ended and that only the
    journal knows, such as an undo. While the journal cannot be read, `own`."""
    known = {run.id for run in own}
    try:
        found = [run for run in state.journal.runs(RUNS) if run.finished_at is not None and run.id not in known]
        targets = state.runs.targets([run.id for run in found])
    except StateDirError:
        return tuple(own)
    others = (run_of_journal(run, tuple(targets[run.id])) for run in found)
    return tuple(sorted((*own, *others), key=lambda run: run.at, reverse=True)[:RUNS])


def run_of_pass(run: str, report: TargetReport, result: PassResult, commit: str | None) -> RunView:
    """The run of a pass; `commit` is the one that the files were at."""
    kinds = Counter(one.kind.value for one in report.outcomes)
    kinds.update({NAMESPACES_DELETED: 1} if report.namespace_deleted else {})
    actions = Counter(one.action.value for one in report.outcomes if one.kind is OutcomeKind.APPLIED)
    triggers = tuple(trigger.value for trigger in result.triggers)
    return RunView(
        run,
        "run",
        result.at,
        "finished",
        result.target,
        commit,
        triggers,
        result.seconds,
        counts=dict(kinds),
        actions=dict(actions),
    )


def run_of_journal(run: RunRecord, targets: tuple[Target, ...]) -> RunView:
    """A run that the journal holds, with its targets."""
    seconds = None if run.finished_at is None else run.finished_at - run.started_at
    counts = {kind: number for kind, number in run.summary.items() if number}
    at = run.finished_at if run.finished_at is not None else run.started_at
    target = targets[0] if len(targets) == 1 else None
    facts = (run.source, run.triggers, seconds, len(targets))
    return RunView(run.id, run.command, at, run.status.value, target, *facts, counts)
