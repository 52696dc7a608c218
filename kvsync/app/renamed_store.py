"""Finds the present names of the targets of a renamed store, by the places that the state remembers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from kvsync.app.workspace import Workspace
from kvsync.errors import StoreError, UsageError
from kvsync.model.entry import Target
from kvsync.model.place import LocatedTarget
from kvsync.state import Pause, StateDir
from kvsync.state.places import PlaceRecord
from kvsync.state.rows import state_key
from kvsync.util.values import dataclass
from kvsync.yaml.problems import name_hint


@dataclass(frozen=True, slots=True)
class RenamedTarget:
    """A target under its former name, and under the name that leads to the same place now."""

    former: Target
    present: LocatedTarget

    def __str__(self) -> str:
        """What is said of it."""
        what = "state and marks are kept by place, so nothing has to be moved"
        return f"{self.former} is now {self.present.target}: {what}"


class RenamedStore:
    """A store that kvsync.yaml no longer has under the name `former`. Raises UsageError if the state does not know it either,
    StateDirError."""

    def __init__(self, workspace: Workspace, former: str) -> None:
        self._workspace, self._former = workspace, former
        self._known: Mapping[str, PlaceRecord] = {
            target.namespace: record
            for target, record in workspace.state.places.all().items()
            if target.store == former
        }
        if not self._known:
            hint = name_hint(former, workspace.config.stores)
            raise UsageError(f"neither kvsync.yaml nor the state directory knows a store {former!r}; {hint}")

    async def targets(self, named: Collection[Target], namespace: str | None = None) -> list[RenamedTarget]:
        """Which of the targets are renamed ones; `namespace` is their former one, if that differs. Raises UsageError if none
        is."""
        found: list[RenamedTarget] = []
        for target in sorted(named):
            found += await self._same([target], namespace or target.namespace)
        names = {one.former.namespace for one in found}
        if missing := [one for one in sorted(named) if (namespace or one.namespace) in self._known.keys() - names]:
            raise UsageError(await self._moved(missing[0], namespace or missing[0].namespace))
        if not found:
            raise UsageError(
                f"{self._former}: according to the state directory, none of the targets was in this store; check its name"
            )
        return found

    async def others(self, found: Iterable[RenamedTarget]) -> list[RenamedTarget]:
        """The targets that the store had besides those that were `found`, under the names of their stores."""
        stores = sorted({one.present.target.store for one in found})
        done = {one.former.namespace for one in found}
        more: list[RenamedTarget] = []
        for namespace in sorted(self._known.keys() - done):
            more += (await self._same([Target(store, namespace) for store in stores], namespace))[:1]
        return more

    async def _same(self, targets: Iterable[Target], namespace: str) -> list[RenamedTarget]:
        """Those of the targets that lead where the target of this namespace did."""
        record, found = self._known.get(namespace), []
        for target in targets if record is not None else ():
            try:
                located = LocatedTarget(target, await self._workspace.find_place(target))
            except StoreError:  # of several stores, another one may be it
                continue
            if record is not None and state_key(located) == record.place:
                found.append(RenamedTarget(Target(self._former, namespace), located))
        return found

    async def _moved(self, target: Target, namespace: str) -> str:
        """Why a target is not a renamed one."""
        former = Target(self._former, namespace)
        try:
            place = await self._workspace.find_place(target)
        except StoreError as error:
            return f"{target}: cannot resolve it to a place: {error}"
        return (
            f"{former} was {self._known[namespace].description}, and {target} is {place}; to copy from there, add the"
            f" previous configuration of the store to kvsync.yaml, as {self._former}"
        )


def carried_pauses(state: StateDir, renamed: Iterable[RenamedTarget]) -> dict[Pause, Pause]:
    """The pauses under present names, with the one under a former name that each comes from. Raises StateDirError."""
    pauses = state.pauses.all()
    found: dict[Pause, Pause] = {}
    for one in renamed:
        store, namespace = one.present.target.store, one.present.target.namespace
        for pause in pauses:
            if pause.store == one.former.store and pause.namespace in (None, one.former.namespace):
                found[replace(pause, store=store, namespace=pause.namespace and namespace)] = pause
    return found


def adopt_names(state: StateDir, renamed: Collection[RenamedTarget], now: float) -> None:
    """Give targets their present names: pauses are carried over; former names, and plans parked under them, are forgotten. A
    pause of the whole store stays under its former name until no target has that name. Raises StateDirError."""
    known = {str(pause) for pause in state.pauses.all()}
    for present, former in carried_pauses(state, renamed).items():
        if str(present) not in known:
            state.pauses.pause(present.store, present.namespace, present.reason, present.since)
        if former.namespace is not None:
            state.pauses.resume(former.store, former.namespace)
    for one in renamed:
        state.places.enter(one.present, now)
        state.places.remove(one.former)
        state.parked.unpark(one.former)
    for store in {one.former.store for one in renamed} - {target.store for target in state.places.all()}:
        state.pauses.resume(store, None)
