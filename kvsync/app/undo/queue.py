"""Undo next to a running daemon: the request is recorded, the daemon carries it out, and the command waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Final

from kvsync.app import Report, Workspace
from kvsync.app.state_access import StateAccess
from kvsync.app.undo.operation import UndoOperation
from kvsync.errors import KvsyncError, StandbyError
from kvsync.model.change import Action, Outcome, OutcomeKind
from kvsync.model.entry import Identity, Target
from kvsync.model.plan import Plan, TargetPlan, TargetReport
from kvsync.state import StateDir, UndoRequest

WAIT: Final = 600.0
"""Seconds that a command waits for the daemon."""

_LOOK: Final = 0.2


class QueuedUndo:
    """An undo that the daemon carries out."""

    def __init__(self, workspace: Workspace, operation: UndoOperation) -> None:
        self._workspace, self._operation = workspace, operation

    def check(self, held: KvsyncError) -> int:
        """The process of the daemon that may write here. Raises what is given when the process that is in the way is not
        the daemon, KvsyncError when the daemon must not write."""
        daemon, writer = self._workspace.state.passes.daemon(), self._workspace.state.writer()
        if daemon is None or daemon.pid != writer:
            raise held
        if daemon.lease is not None and not daemon.lease.leads:
            raise StandbyError(daemon.lease.name, daemon.lease.leader)
        return daemon.pid

    async def apply(self, plan: Plan, stop: Callable[[], bool], done: Callable[[int], None]) -> Report:
        """Ask the daemon and wait for it. Stopped, it takes back what the daemon has not begun. Raises KvsyncError when the
        daemon does not answer, StateDirError."""
        unseen = self._operation.unreadable
        # That of the workspace is only read where replicas share it.
        with StateAccess(self._workspace.config, self._workspace.redactor).open(writable=True) as state:
            request = self._operation.submit(plan, state, unseen)
            state.wake()
            rows = await self._wait(state, request, stop, done)
            if stop():
                state.undo_requests.withdraw(request)
        reports = {one.target: one for one in rows}
        unchanged = {one.plan.target: one for one in self._operation.unchanged(plan).targets}
        targets = [
            _report(_as_planned(one, unseen), reports[one.target].report)
            if one.target in reports
            else unchanged[one.target]
            for one in plan.targets
        ]
        run = next((one.run for one in rows if one.run), None)
        return Report(plan, tuple(targets), run)

    async def _wait(
        self, state: StateDir, request: str, stop: Callable[[], bool], done: Callable[[int], None]
    ) -> list[UndoRequest]:
        """The rows of a request once all are done, or someone asks to stop. Raises KvsyncError."""
        left, seen = WAIT, 0
        while True:
            rows = state.undo_requests.of(request)
            finished = sum(one.report is not None for one in rows)
            done(finished - seen)
            seen = finished
            if finished == len(rows) or stop():
                return rows
            if state.writer() is None:
                ended = "the daemon ended before it finished the undo"
                raise KvsyncError(f"{ended}; the next kvsync apply or run finishes it")
            if left <= 0:
                late = f"the daemon has not finished the undo within {WAIT:.0f} s"
                raise KvsyncError(f"{late}; it continues, and kvsync history shows when it is done")
            left -= _LOOK
            await asyncio.sleep(_LOOK)


def _as_planned(plan: TargetPlan, unseen: Collection[Target]) -> TargetPlan:
    """The plan without the error that only this machine has."""
    return replace(plan, error=None, code=None) if plan.target in unseen else plan


def _report(plan: TargetPlan, data: dict[str, Any] | None) -> TargetReport:
    if data is None:
        why = "withdrawn before the daemon started it"
        left = tuple(Outcome(one.identity, one.action, OutcomeKind.NOT_ATTEMPTED, why) for one in plan.changes)
        return TargetReport(plan, left)
    outcomes = tuple(
        Outcome(Identity(key, label), Action(action), OutcomeKind(kind), error)
        for key, label, action, kind, error in data["outcomes"]
    )
    return TargetReport(plan, outcomes, data["error"])
