"""Plan of an undo: for each target what would be restored, and what cannot be, before anything is done."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from kvsync.app import Report, Workspace
from kvsync.app.undo.choice import ChosenRuns
from kvsync.app.undo.execution import UndoExecution
from kvsync.app.undo.records import records_of
from kvsync.app.undo.target import TargetUndo, wanted_entries
from kvsync.desired import DesiredState
from kvsync.model.change import OutcomeKind
from kvsync.model.entry import Target
from kvsync.model.plan import Plan, TargetReport, make_plan
from kvsync.state import ChangeRecord, StateDir


class UndoOperation:
    """Takes back chosen runs. A reading workspace may `plan`, and only a writing one may `apply`. What `reads_only` only plans,
    also in targets that other replicas hold."""

    def __init__(
        self, workspace: Workspace, chosen: ChosenRuns, loaded: DesiredState, *, reads_only: bool = False
    ) -> None:
        self._workspace, self._state = workspace, workspace.state
        self.chosen, self._loaded, self._reads_only = chosen, loaded, reads_only
        self.records: Mapping[Target, Sequence[ChangeRecord]] = records_of(workspace.state, chosen.ids)
        self._undoing: dict[Target, TargetUndo] = {}

    @property
    def seal(self) -> Callable[[bytes], str]:
        """Shows a sensitive fingerprint as it may be shown."""
        return self._state.seal

    def deleted_namespaces(self) -> Sequence[Target]:
        """The targets whose namespace the chosen runs deleted: undo cannot restore them. Raises StateDirError."""
        deleted = self._state.runs.namespaces(self.chosen.ids).values()
        return sorted({one.target for some in deleted for one in some if one.outcome is OutcomeKind.APPLIED})

    async def plan(self) -> Plan:
        """What would be done. Entries that cannot be restored are in it as refused. Raises StateDirError."""
        targets = []
        for target, records in self.records.items():
            wanted = wanted_entries(self._loaded, target)
            undoing = TargetUndo(self._workspace, target, records, wanted, reads_only=self._reads_only)
            self._undoing[target] = undoing
            targets.append(await undoing.plan())
        config = self._workspace.config
        plan = replace(make_plan(self._state.digest_key, config.owner, targets), environment=config.environment)
        return self._workspace.with_waiting(plan)

    async def apply(self, plan: Plan, stop: Callable[[], bool], progress: Callable[[int], None]) -> Report:
        """Do it, as one run. Entries are read again: what changed since `plan` is stale. Raises StateDirError."""
        if not any(target.changes for target in plan.targets):
            return self.unchanged(plan)
        request = self.submit(plan)
        execution = UndoExecution(self._workspace, self._loaded, stop, progress)
        done, run = await execution.all(self._state.undo_requests.of(request))
        by_target = {report.plan.target: report for report in done}
        kept = {report.plan.target: report for report in self.unchanged(plan).targets}
        return Report(plan, tuple(by_target.get(one.target, kept[one.target]) for one in plan.targets), run)

    @property
    def unreadable(self) -> Sequence[Target]:
        """The targets that were planned, but whose store this machine cannot read. The replica that holds them can."""
        return [target for target, undoing in self._undoing.items() if undoing.is_unreadable]

    def submit(self, plan: Plan, state: StateDir | None = None, unseen: Collection[Target] = ()) -> str:
        """Record what is to be done, for whoever may write, in `state` where that of the workspace is only read, also in the
        targets of which nothing could be planned here (`unseen`); returns the id of the request. Raises StateDirError."""
        request = f"{self.chosen.ids[0]}/{self._workspace.clock.now():.6f}"
        targets = [one.target for one in plan.targets if one.changes or one.target in unseen]
        (state or self._state).undo_requests.add(request, self.chosen.text, self.chosen.ids, targets)
        return request

    def unchanged(self, plan: Plan) -> Report:
        """The report of a plan of which nothing is carried out."""
        settled = {target: undoing.outcomes for target, undoing in self._undoing.items()}
        return Report(
            plan,
            tuple(TargetReport(one, settled.get(one.target, ()), one.error, code=one.code) for one in plan.targets),
        )


def beyond_undo(plan: Plan) -> int:
    """How many entries of an undo plan cannot be restored because their value is not in the journal."""
    refused = (one for target in plan.targets for one in target.refused)
    return sum("not in the journal" in one.reason or "not kept in the journal" in one.reason for one in refused)
