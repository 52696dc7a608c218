"""Moves what kvsync owns from a former place of a target to its present one: after a store, namespace or `key_format` changed.

source   what is proven to be ours at the previous place, and the files still name
target   copied from the source where it lacks them; marked where both names lead to the same remote key
source   each old entry is deleted once its copy was read back and is ours
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from kvsync.app.model import TargetSelection
from kvsync.app.namespace_rename import NamespaceRename, find_rename
from kvsync.app.relocated import FormerPlace, Relocated, unambiguous
from kvsync.app.renamed_store import RenamedStore, RenamedTarget, adopt_names, carried_pauses
from kvsync.app.workspace import Workspace
from kvsync.desired import DesiredState, WatchSet
from kvsync.errors import StoreError, UsageError
from kvsync.ledger.target_ledger import TargetLedger
from kvsync.model.canonical import fingerprint
from kvsync.model.change import Action, Change
from kvsync.model.desired import Desired, Move
from kvsync.model.digest import target_digest
from kvsync.model.entry import Entry, Identity, Mode, Target
from kvsync.model.pass_options import PassOptions
from kvsync.model.place import Place
from kvsync.model.plan import Plan, TargetPlan, narrowed_plan
from kvsync.model.policy import Adopt, Guard, Policy, Prune
from kvsync.planning.cost import cost_of
from kvsync.planning.pass_target import PassTarget
from kvsync.rendering.words import count
from kvsync.stores.isolated import IsolatedStore
from kvsync.stores.pacing import ConcurrencyLimiter
from kvsync.stores.registry import open_store

_EVERYTHING = Guard(max_delete_pct=100, max_update_pct=100, max_deletes=10**9)
"""Each old entry goes only once its copy was verified, so that their number says nothing."""

_SOURCE_POLICY = Policy(Prune.OWNED, Adopt.NEVER, guard=_EVERYTHING)
_TARGET_POLICY = Policy(Prune.OFF, Adopt.IF_EQUAL, guard=_EVERYTHING)
_ASK = PassOptions(deep=True, allow_protected=True, leaves_ledger=False)


class Relocation:
    """One `kvsync transfer` from a former place, in a workspace that may write."""

    def __init__(self, workspace: Workspace, loaded: DesiredState, former: FormerPlace) -> None:
        self._workspace, self._loaded, self._former = workspace, loaded, former
        self._pairs: list[Relocated] = []
        self._renamed: list[RenamedTarget] = []
        self.rename: NamespaceRename | None = None
        """The rename that is done instead, where the namespace itself can get the new name."""
        self.notes: list[str] = []
        """What was found that needs no change, as sentences."""

    async def plan(self, targets: Collection[Target] | None = None) -> Plan:
        """The plan of these targets and their sources; None for all that have one. Raises UsageError, StoreError,
        StateDirError."""
        store = self._former.store
        if store is not None and store not in self._workspace.config.stores:
            await self._find_renamed(RenamedStore(self._workspace, store), targets)
            targets = ()
        named = [await self._pair(target) for target in sorted(self._with_source() if targets is None else targets)]
        self._pairs = [await self._filled(pair) for pair in unambiguous(named)]
        files = self._files(self._pairs)
        plans = await self._workspace.plan(TargetSelection(tuple(files.targets), _ASK), files)
        by_target = {one.target: one for one in plans.targets}
        parts = [part for pair in self._pairs for part in self._parts(pair, by_target)]
        parts += [self.rename.plan(self._workspace)] if self.rename is not None else []
        return narrowed_plan(replace(plans, source=self._loaded.source), parts, self._workspace.state.digest_key)

    async def finish(self) -> list[str]:
        """Forget what has left the sources, also in ledgers that stores keep, and former names of a renamed store. Returns what
        could not be done. Raises StateDirError."""
        adopt_names(self._workspace.state, self._renamed, self._workspace.clock.now())
        errors = [await self._retire(pair) for pair in self._pairs]
        return [error for error in errors if error is not None]

    async def _find_renamed(self, store: RenamedStore, targets: Collection[Target] | None) -> None:
        """A store of which only the name changed needs nothing, because everything is kept by place. Its former names are
        forgotten, those of targets that no file names too."""
        self._renamed = await store.targets(
            self._loaded.managed if targets is None else targets, self._former.namespace
        )
        if targets is None:
            self._renamed += await store.others(self._renamed)
        self.notes += map(str, self._renamed)
        pauses = carried_pauses(self._workspace.state, self._renamed)
        self.notes += (f"the pause of {former} is carried over to {present}" for present, former in pauses.items())

    def _with_source(self) -> Collection[Target]:
        """The targets that entries can move to: with another store, those whose namespace kvsync has used there, if any."""
        store, managed = self._former.store, self._loaded.managed
        if store is None:
            return managed
        known = self._workspace.state.places.all()
        return [one for one in managed if one.store != store and Target(store, one.namespace) in known] or managed

    async def _pair(self, target: Target) -> Relocated | None:
        source = self._source(target)
        try:
            self.rename = await find_rename(self._workspace, source, target)
            if self.rename is not None:
                return None
            here, there = await self._workspace.find_place(target), await self._workspace.find_place(source)
        except StoreError as error:
            raise UsageError(f"{source}: cannot resolve it to a place: {error}") from None
        if here.key == there.key:
            self.notes.append(f"{source} and {target} are the same place ({here}); nothing has to be moved")
            return None
        return Relocated(source, target)

    def _source(self, target: Target) -> Target:
        """The target that the entries come from, with its store opened."""
        former, known = self._former, self._workspace.config.stores
        name, namespace = former.store or target.store, former.namespace or target.namespace
        if former.key_format is None:
            source = Target(name, namespace)
            if source in self._loaded.managed:
                raise UsageError(f"{source}: the files still name it; remove it from the files first, or use moved:")
            return source
        label = f"{name} (key_format {former.key_format})"
        if label not in self._workspace.stores:
            context = self._workspace.stores[name].context
            try:
                opened = open_store(replace(known[name], name=label, key_format=former.key_format), context)
            except ValueError as error:
                raise UsageError(f"--from-key-format: {error}") from None
            self._workspace.attach(label, IsolatedStore(opened))
        return Target(label, namespace)

    async def _filled(self, pair: Relocated) -> Relocated:
        """The pair with what moves: entries of ours at the source that the files name, and the target can still get."""
        empty = Desired(pair.source, {}, {}, digest="", policy=_SOURCE_POLICY)
        plans = await self._workspace.plan(TargetSelection((pair.source,), _ASK), _state({pair.source: empty}))
        (plan,) = plans.targets
        if plan.error:
            raise UsageError(f"{pair.source}: {plan.error}")
        desired = self._loaded.targets.get(pair.target) or Desired(pair.target, {}, {}, digest="")
        moving = dict(self._copies(pair, plan.changes, desired))
        same = self._same(pair, moving, *await self._places(pair))
        held = await self._held(replace(pair, moving=moving, same=same))
        kept = {name: desired.entries[name] if name in held else entry for name, entry in moving.items()}
        refused = tuple(one for one in plan.refused if one.identity in desired.entries)
        return replace(pair, moving=kept, same=same, refused=refused, left=len(plan.changes) - len(moving))

    def _copies(self, pair: Relocated, changes: Iterable[Change], desired: Desired) -> Iterator[tuple[Identity, Entry]]:
        store = self._workspace.stores[pair.target.store]
        for change in changes:
            entry, before = desired.entries.get(change.identity), change.before
            if entry is None or before is None or before.content is None or entry.mode is Mode.OBSERVE:
                continue
            content = store.normalise(before.content)
            if not store.capabilities.descriptions:
                content = content._replace(description=None)
            # A description that no file mentions is copied, and stays with other writers: the mark does not cover it.
            managed = content if entry.content.description is not None else content._replace(description=None)
            yield (
                change.identity,
                replace(entry, content=content, fingerprint=fingerprint(managed), after=(), after_all=False),
            )

    async def _places(self, pair: Relocated) -> tuple[Place, Place]:
        return await self._workspace.find_place(pair.source), await self._workspace.find_place(pair.target)

    def _same(self, pair: Relocated, names: Iterable[Identity], source: Place, target: Place) -> frozenset[Identity]:
        """The entries whose remote key is the same on both sides: these must never be deleted."""
        if source.container != target.container:
            return frozenset()
        old, new = (self._workspace.stores[one.store].remote_key for one in (pair.source, pair.target))
        before, now = pair.source.namespace, pair.target.namespace
        return frozenset(name for name in names if old(before, name) == new(now, name))

    async def _held(self, pair: Relocated) -> frozenset[Identity]:
        """The entries that the target has already, with another content than the source: there the files decide."""
        files = _state({pair.target: self._as_target(pair)})
        (plan,) = (await self._workspace.plan(TargetSelection((pair.target,), _ASK), files)).targets
        if plan.error:
            raise UsageError(f"{pair.target}: {plan.error}")
        return frozenset(one.identity for one in plan.changes if one.action is Action.UPDATE) & pair.moving.keys()

    def _as_target(self, pair: Relocated) -> Desired:
        desired = self._loaded.targets.get(pair.target)
        others = {} if desired is None else dict(desired.entries)
        return Desired(pair.target, {**others, **pair.moving}, {}, digest="", policy=_TARGET_POLICY)

    def _files(self, pairs: Iterable[Relocated]) -> DesiredState:
        """What sources and targets are to be after the transfer."""
        found: dict[Target, Desired] = {}
        for pair in pairs:
            leaving = dict.fromkeys(name.key for name in pair.moving if name not in pair.same)
            moved = tuple(Move(key, key, destination_target=pair.target) for key in leaving)
            policy = replace(_SOURCE_POLICY, prune=Prune.OFF)
            found[pair.target] = self._as_target(pair)
            found[pair.source] = Desired(pair.source, {}, {}, digest="", policy=policy, moved=moved)
        return _state(found)

    def _parts(self, pair: Relocated, plans: Mapping[Target, TargetPlan]) -> Iterator[TargetPlan]:
        leaving = pair.moving.keys() - pair.same
        source = self._part(plans[pair.source], lambda one: one.identity in leaving and one.moved_to is not None)
        yield replace(source, refused=(*source.refused, *pair.refused))
        marked = self._part(plans[pair.target], partial(_arrives, pair))
        stay = f"{count(pair.left, 'entry', 'entries')} of {pair.source} stay there, because no file names them"
        yield replace(marked, notes=(f"{stay}; see kvsync list --orphans",) if pair.left else ())

    def _part(self, plan: TargetPlan, is_wanted: Callable[[Change], bool]) -> TargetPlan:
        changes = tuple(filter(is_wanted, plan.changes))
        digest = target_digest(self._workspace.state.digest_key, plan.target, plan.place, changes)
        cost = cost_of(replace(plan, changes=changes), self._workspace.stores[plan.target.store].capabilities)
        return replace(plan, digest=digest, changes=changes, cost=cost, reported=(), moved_from=None, orphans=0)

    async def _retire(self, pair: Relocated) -> str | None:
        """Deleted entries are forgotten already. Those that stayed are, once the target knows them."""
        workspace = self._workspace
        try:
            source, target = await workspace.locate(pair.source), await workspace.locate(pair.target)
        except StoreError as error:
            return str(error)
        gone = workspace.state.ledger.get(target.key, pair.same)
        left = await self._ledger(source).retire(gone, self._pace(source), workspace.clock, _never)
        return left or await self._ledger(target).write_if_due(self._pace(target), workspace.clock, _never)

    def _ledger(self, subject: PassTarget) -> TargetLedger:
        store = self._workspace.stores[subject.target.store]
        return TargetLedger(store, subject, self._workspace.state, writing=True)

    def _pace(self, subject: PassTarget) -> ConcurrencyLimiter:
        return ConcurrencyLimiter.of(self._workspace.stores[subject.target.store].capabilities)


def _never() -> bool:
    return False


def _arrives(pair: Relocated, change: Change) -> bool:
    """True for a copy that is made, and for an entry that stays where it is under a new mark."""
    wanted = Action.ADOPT if change.identity in pair.same else Action.CREATE
    return change.identity in pair.moving and change.action is wanted


def _state(targets: Mapping[Target, Desired]) -> DesiredState:
    return DesiredState(targets, {}, (), (), files=0, entries=0, watch=WatchSet(), digest="")
