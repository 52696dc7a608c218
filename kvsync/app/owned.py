"""Lists what kvsync owns by its ledger in the state directory, and which of it no file names any more. Asks no store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from kvsync.app.workspace import Workspace
from kvsync.desired import DesiredState
from kvsync.errors import Origin, UsageError
from kvsync.model.entry import Identity, Target, identity_order
from kvsync.model.policy import Prune
from kvsync.util.values import dataclass
from kvsync.yaml.problems import name_hint


@dataclass(frozen=True, slots=True)
class OwnedEntry:
    """One entry of ours: where the files define it (None: they do not), and the last run that changed it, if that is kept.
    `is_orphan` is False where it cannot be known, because the files have problems."""

    identity: Identity
    origin: Origin | None
    is_orphan: bool
    last_run: str | None


@dataclass(frozen=True, slots=True)
class OwnedTarget:
    """The entries of ours at one place. `is_managed` is False for a target that no file names, `is_configured` for one whose
    store kvsync.yaml does not have. `others` counts the entries that were written here for other owners, by owner."""

    target: Target
    place: str
    is_managed: bool
    is_configured: bool
    entries: tuple[OwnedEntry, ...]
    others: Mapping[str, int]

    @property
    def orphans(self) -> tuple[OwnedEntry, ...]:
        """Those that no file names."""
        return tuple(entry for entry in self.entries if entry.is_orphan)


def owned_targets(workspace: Workspace, loaded: DesiredState, asked: str | None = None) -> list[OwnedTarget]:
    """All targets at whose place the ledger knows entries, or those that `asked` names (STORE or STORE/NS). Raises UsageError
    when it names none, StateDirError."""
    found = list(_targets(workspace, loaded))
    if asked is None:
        return found
    chosen = [one for one in found if asked in (one.target.store, str(one.target))]
    if not chosen and asked not in {name for target in loaded.managed for name in (target.store, str(target))}:
        raise UsageError(f"unknown target {asked}; {name_hint(asked, (str(one.target) for one in found))}")
    return chosen


def kept_orphans(workspace: Workspace, loaded: DesiredState) -> Iterator[tuple[Target, int]]:
    """The targets in which the policy lets orphans stay, with their number. Raises StateDirError."""
    for target, desired in sorted(loaded.targets.items()):
        known = workspace.state.places.known(target) if desired.policy.prune is Prune.OFF else None
        if known is not None:
            ours, _ = _divided(workspace, known.place)
            number = sum(entry.is_orphan for entry in _entries(workspace, loaded, target, ours))
            yield from [(target, number)] * bool(number)


def _targets(workspace: Workspace, loaded: DesiredState) -> Iterator[OwnedTarget]:
    known = workspace.state.places.all()
    managed_places = {record.place for target, record in known.items() if target in loaded.managed}
    for target, record in sorted(known.items()):
        is_managed = target in loaded.managed
        if not is_managed and record.place in managed_places:
            continue  # a former name of a place that the files name otherwise
        ours, others = _divided(workspace, record.place)
        if ours or others:
            entries = tuple(_entries(workspace, loaded, target, ours))
            is_configured = target.store in workspace.config.stores
            yield OwnedTarget(target, record.description, is_managed, is_configured, entries, others)


def _divided(workspace: Workspace, place: str) -> tuple[list[Identity], Counter[str]]:
    """What the ledger knows at a place: the entries of ours, and how many belong to other owners, which kvsync had before."""
    owners = {name: one.mark.owner for name, one in workspace.state.ledger.all(place).items() if one.is_there}
    owner = workspace.config.owner
    ours = sorted((name for name, one in owners.items() if one == owner), key=identity_order)
    return ours, Counter(one for one in owners.values() if one != owner)


def _entries(
    workspace: Workspace, loaded: DesiredState, target: Target, ours: Iterable[Identity]
) -> Iterator[OwnedEntry]:
    desired = loaded.targets.get(target)
    is_unknown = bool(loaded.hold_all) or target in loaded.held
    for identity in ours:
        entry = desired.entries.get(identity) if desired is not None else None
        last = workspace.state.journal.last_change(target, identity)
        origin = entry.origin if entry is not None else None
        yield OwnedEntry(identity, origin, entry is None and not is_unknown, last.run if last is not None else None)
