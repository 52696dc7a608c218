"""Undo on the status page: a preview, and a request for exactly the changes that it showed."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.app.undo.choice import UndoChoice, chosen_runs
from kvsync.app.undo.operation import UndoOperation, beyond_undo
from kvsync.errors import NotApproved, UsageError
from kvsync.model.plan import Plan, TargetReport
from kvsync.status.pending_rows import pending_plan
from kvsync.status.plan_views import UndoneTarget, UndoView

_MOST_ROWS = 500


class WorkspaceUndoService:
    """Implements the `UndoService` of the HTTP server. Requests are carried out by the daemon's passes."""

    def __init__(self, reconciler: WorkspaceReconciler, wake: Callable[[], None]) -> None:
        self._reconciler, self._wake = reconciler, wake

    async def preview(self, run: str, commit: str) -> UndoView:
        """What would be undone. Raises UsageError, StateDirError."""
        operation, plan = await self._planned(run, commit)
        workspace = self._reconciler.workspace
        left, targets = _MOST_ROWS, []
        for one in plan.targets:
            shown = pending_plan(TargetReport(one), plan.owner, workspace.redactor.redact, max(left, 0))
            left -= len(shown.rows) if shown is not None else 0
            targets.append(UndoneTarget(one.target, shown, one.error))
        runs = operation.chosen.runs
        changes = sum(len(one.changes) for one in plan.targets)
        of_commit = runs[0].source if len(runs) == 1 and runs[0].command != "undo" else None
        return UndoView(
            operation.chosen.text,
            plan.digest,
            run,
            commit,
            tuple(targets),
            changes,
            beyond_undo(plan),
            len(runs),
            of_commit,
        )

    async def submit(self, run: str, commit: str, digest: str) -> str:
        """Request exactly what was shown under this digest. Raises NotApproved when it would be something else by now,
        UsageError, StateDirError."""
        operation, plan = await self._planned(run, commit)
        if not hmac.compare_digest(plan.digest.encode(), digest.encode("utf-8", "replace")):
            raise NotApproved("entries changed after the preview was made; preview the undo again")
        if not any(one.changes for one in plan.targets):
            return "there is nothing to undo"
        operation.submit(plan)
        self._wake()
        return f"undo of {operation.chosen.text} was requested"

    async def _planned(self, run: str, commit: str) -> tuple[UndoOperation, Plan]:
        if not run and not commit:
            raise UsageError("name a run or a commit")
        workspace, loaded = self._reconciler.workspace, self._reconciler.files
        choice = UndoChoice(run or None, commit or None)
        chosen = chosen_runs(workspace.state, choice, workspace.clock.now())
        operation = UndoOperation(workspace, chosen, loaded, reads_only=True)
        return operation, await operation.plan()
