"""Undo in one target: reads its entries where the runs wrote them, and plans what is restored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kvsync.app import Workspace
from kvsync.app.undo.records import newer_run
from kvsync.apply.invert import InvertedRun, undo_changes
from kvsync.apply.undo import in_written_order
from kvsync.desired import DesiredState
from kvsync.errors import AuthError, ClaimHeld, PermanentError, StoreError, TransientError
from kvsync.model.capabilities import Capabilities
from kvsync.model.change import Change, Class, Outcome, OutcomeKind, Refusal
from kvsync.model.digest import target_digest
from kvsync.model.entry import Content, Entry, Identity, Target, identity_order
from kvsync.model.place import LocatedTarget
from kvsync.model.plan import TargetPlan
from kvsync.planning.cost import cost_of
from kvsync.planning.pass_target import PassTarget
from kvsync.reconcile import empty_plan, with_restore_point
from kvsync.reconcile.observer import Observer
from kvsync.state import ChangeRecord
from kvsync.state.rows import name_key

_CANNOT = frozenset({OutcomeKind.STALE, OutcomeKind.REFUSED, OutcomeKind.SKIPPED})


class TargetUndo:
    """What undoing some changes, oldest first, comes to in their target. `wanted` are the entries that the files ask for.
    `outcomes` are of what cannot or need not be restored, `subject` is the target at its place; both are there once it is
    planned. What `reads_only` can be planned for a target that another replica holds."""

    def __init__(
        self,
        workspace: Workspace,
        target: Target,
        records: Sequence[ChangeRecord],
        wanted: Mapping[Identity, Entry],
        *,
        reads_only: bool = False,
    ) -> None:
        self._workspace, self._state, self._reads_only = workspace, workspace.state, reads_only
        self.target, self.records, self.wanted = target, records, wanted
        self.outcomes: tuple[Outcome, ...] = ()
        self.subject: PassTarget | None = None
        self.is_unreadable = False
        """Whether this machine cannot read the store: its credential is missing, or the store is out of reach."""

    async def plan(self) -> TargetPlan:
        """What would be done; why nothing can be is in the plan's `error`. Raises ClaimHeld, ClaimLost,
        StateDirError."""
        store = self._workspace.stores.get(self.target.store)
        if store is None:
            return self._without_store()
        try:
            subject = await self._locate()
            observer = Observer(store, subject, self._state)
            found = await observer.read_some(list(dict.fromkeys(record.identity for record in self.records)))
        except StoreError as error:
            self.is_unreadable = isinstance(error, AuthError | TransientError)
            self._leave_to_replicas()
            offline = LocatedTarget(self.target, store.place(self.target.namespace))
            plan = empty_plan(self._state.digest_key, offline, store.capabilities.type)
            return replace(plan, error=str(error), code=error.code)
        fresh = {identity: observer.shown(actual, None) for identity, actual in found.items()}
        now, owner = self._workspace.clock.now(), self._workspace.config.owner
        undone = undo_changes(self.records, fresh, store.capabilities, owner, now, observer.unread)
        undone = in_written_order(undone, self.wanted)
        self.subject, self.outcomes = subject, tuple(map(self.explained, undone.outcomes))
        return with_restore_point(self._as_plan(subject.located, store.capabilities, undone), store)

    def _without_store(self) -> TargetPlan:
        """Nothing can be planned: the configuration has no such store, or this machine has no configuration."""
        self.is_unreadable = self.target.store in self._workspace.config.stores
        gone = f"the configuration no longer defines the store {self.target.store!r}"
        error = "this machine has no kvsync.yaml to read the store with" if self.is_unreadable else gone
        digest = target_digest(self._state.digest_key, self.target, None, ())
        return TargetPlan(self.target, "", digest, error=error)

    def _leave_to_replicas(self) -> None:
        """Raise ClaimHeld where this machine cannot read the store, but replicas may."""
        claims = self._state.claims
        if self.is_unreadable and claims is not None and not self._reads_only:
            others = [one.id for one in self._state.replicas() if one.id != claims.me.id and not one.is_draining]
            if others:
                raise ClaimHeld(str(self.target), others[0])

    async def _locate(self) -> PassTarget:
        """The target where the runs wrote it. Raises PermanentError when its names lead to another place now, StoreError."""
        subject = await self._workspace.locate(self.target, reads_only=self._reads_only)
        places = {record.place for record in self.records} - {subject.key, name_key(self.target)}
        if places:
            known = self._state.places.known(self.target)
            was = f"was {known.previous}, " if known is not None and known.previous else ""
            raise PermanentError(
                f"{self.target} is no longer the store that the run wrote to ({was}is {subject.located.place});"
                " nothing is changed there; point the name back to the old store to undo this run"
            )
        return subject

    def explained(self, outcome: Outcome) -> Outcome:
        """A conflict with the run that caused it, where it was kvsync itself."""
        if outcome.kind is not OutcomeKind.STALE:
            return outcome
        runs = list(dict.fromkeys(record.run for record in self.records))
        run = newer_run(self._state, runs, self.target, outcome.identity)
        return outcome if run is None else replace(outcome, error=f"{outcome.error}; run {run} changed it")

    def _as_plan(self, located: LocatedTarget, can: Capabilities, undone: InvertedRun) -> TargetPlan:
        causes = {record.identity: record.cause for record in self.records}
        explained = (replace(step.change, reasons=_reasons(step.change)) for step in undone.steps)
        changes = tuple(sorted(explained, key=lambda one: identity_order(one.identity)))
        refused = tuple(
            Refusal(
                one.identity,
                Class.CONFLICT if one.kind is OutcomeKind.STALE else causes[one.identity],
                one.action,
                one.error or "",
            )
            for one in self.outcomes
            if one.kind in _CANNOT
        )
        digest = target_digest(self._state.digest_key, *located, changes, refused)
        same = sum(one.kind is OutcomeKind.UNCHANGED for one in self.outcomes)
        target, place = located
        plan = TargetPlan(target, can.type, digest, place, changes=changes, refused=refused, unchanged=same)
        return replace(plan, cost=cost_of(plan, can))


def wanted_entries(loaded: DesiredState, target: Target) -> Mapping[Identity, Entry]:
    """The entries that the files ask for, or did before they had problems."""
    is_held = bool(loaded.hold_all or loaded.held.get(target))
    found = (loaded.kept if is_held else loaded.targets).get(target)
    return {} if found is None else found.entries


def _reasons(change: Change) -> tuple[str, ...]:
    """What differs between an entry and what it was."""
    now = change.before.content if change.before else None
    then = change.after.content if change.after else None
    if now is None or then is None:
        return ()
    return tuple(name for name in Content._fields if getattr(now, name) != getattr(then, name)) or (
        "expires_at",
        "mark",
    )
