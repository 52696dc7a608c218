"""Gives up ownership of targets, whether files name them or not: the desired state and the plan of `kvsync release`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from kvsync.app.model import TargetSelection
from kvsync.app.workspace import Workspace
from kvsync.desired import DesiredState
from kvsync.desired.target_places import TargetPlaces
from kvsync.errors import UsageError
from kvsync.model.change import Change
from kvsync.model.desired import Desired
from kvsync.model.entry import Identity, Target
from kvsync.model.pass_options import PassOptions
from kvsync.model.plan import Plan, TargetPlan
from kvsync.model.policy import Adopt, Policy, Prune
from kvsync.rendering.words import count
from kvsync.yaml.problems import name_hint

_POLICY = Policy(Prune.OFF, Adopt.NEVER)
"""Nothing is deleted, adopted or ignored while ownership is given up."""


async def plan_release(workspace: Workspace, loaded: DesiredState, names: Sequence[str], keys: tuple[str, ...]) -> Plan:
    """The plan that gives up what kvsync owns in these targets (STORE or STORE/NS). Raises UsageError when one is not known,
    StateDirError."""
    targets = _targets(workspace, loaded, names)
    ask = PassOptions(deep=True, keys=keys, releases=True)
    plan = await workspace.plan(TargetSelection(targets, ask), _without_entries(workspace, loaded, targets))
    return replace(plan, targets=tuple(_noted(one, loaded) for one in plan.targets), unmanaged=())


def _targets(workspace: Workspace, loaded: DesiredState, names: Sequence[str]) -> tuple[Target, ...]:
    known = {*loaded.managed, *workspace.state.places.all()}
    found: set[Target] = set()
    for name in names:
        store, slash, namespace = name.partition("/")
        if store not in workspace.stores:
            raise UsageError(f"unknown store {store!r}; {name_hint(store, workspace.stores)}")
        found |= {Target(store, namespace)} if slash else {one for one in known if one.store == store}
    if not found:
        raise UsageError(
            f"kvsync owns nothing in {', '.join(names)}, according to its state; name a target as STORE/NS"
        )
    return tuple(sorted(found))


def _without_entries(workspace: Workspace, loaded: DesiredState, targets: Iterable[Target]) -> DesiredState:
    """The desired state of these targets with nothing in it, and with all namespaces whose entries are left to others."""
    empty = {target: Desired(target, {}, {}, digest="", policy=_POLICY) for target in targets}
    known = {one for one in (*loaded.managed, *workspace.state.places.all()) if one.store in workspace.stores}
    places = TargetPlaces(workspace.stores, workspace.config.stores)
    nested = places.nested({*empty, *known})
    return DesiredState(empty, {}, (), (), files=0, entries=0, watch=loaded.watch, digest="", nested=nested)


def _noted(plan: TargetPlan, loaded: DesiredState) -> TargetPlan:
    """The plan with what becomes of its entries afterwards."""
    desired = loaded.targets.get(plan.target) or loaded.kept.get(plan.target)
    notes = [] if desired is None else list(_named(plan.changes, desired))
    if mortal := sum(map(_has_lifetime, plan.changes)):
        notes.append(f"kvsync no longer renews the lifetime of {count(mortal, 'entry', 'entries')}, nor ends it")
    return replace(plan, notes=tuple(notes))


def _named(changes: Iterable[Change], desired: Desired) -> Iterable[str]:
    entries: Mapping[Identity, object] = desired.entries
    number = sum(change.identity in entries for change in changes)
    if number:
        what = f"the files still name {count(number, 'entry', 'entries')} of these, which become unowned"
        adopted = (
            "the next apply adopts equal ones again"
            if desired.policy.adopt is not Adopt.NEVER
            else "apply refuses them"
        )
        yield f"{what}; {adopted} (policy.adopt is {desired.policy.adopt}), so remove them from the files first"


def _has_lifetime(change: Change) -> bool:
    before = change.before
    return before is not None and (before.expires_at is not None or bool(before.mark and before.mark.ttl))
