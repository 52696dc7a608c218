"""Inputs and results of loading the desired state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Protocol

from kvsync.config.authority import Authority, FileGrants
from kvsync.config.model import StoreConfig
from kvsync.desired.file_stability import FileState
from kvsync.desired.schemas import Schemas
from kvsync.errors import Kind, Origin, Problem
from kvsync.model.capabilities import Capabilities
from kvsync.model.desired import Desired, Move
from kvsync.model.entry import Content, Entry, Identity, Target
from kvsync.model.place import Place
from kvsync.model.policy import Policy
from kvsync.planning.namespaces import OtherNamespaces
from kvsync.util.lazy import lazy
from kvsync.util.values import dataclass

if TYPE_CHECKING:
    from kvsync.desired.rows import Rows


class StoreFacts(Protocol):
    """What can be asked of a store without reaching it; every `kvsync.stores.base.Store` answers."""

    @property
    def capabilities(self) -> Capabilities:
        """What the store can hold."""

    @property
    def overridden(self) -> Container[str]:
        """Which of the methods below do more than nothing; the others are not called."""

    def normalise(self, content: Content) -> Content:
        """The content as the store will give it back."""

    def remote_key(self, namespace: str, identity: Identity) -> str:
        """The name of an entry in the store. Raises ValueError when it has none."""

    def audit(self, namespace: str, entry: Entry) -> Sequence[str]:
        """What the store cannot hold of an entry, beyond its capabilities."""

    def place(self, namespace: str) -> Place:
        """What a namespace is, as far as the configuration says."""


@dataclass(frozen=True, slots=True)
class Stores:
    """The configured stores: what can be asked of them, how they are configured, and what state files may do with them.
    `variables` are those of the configuration, for templates; `schemas` are what values must match."""

    facts: Mapping[str, StoreFacts]
    configs: Mapping[str, StoreConfig]
    authority: Authority = field(default_factory=Authority)
    variables: Mapping[str, str] = field(default_factory=dict)
    schemas: Schemas = field(default_factory=Schemas)


@dataclass(frozen=True, slots=True)
class WatchSet:
    """The directories whose changes may change what is desired: absolute paths without links, sorted."""

    directories: tuple[str, ...] = ()

    def joined(self, other: WatchSet) -> WatchSet:
        """The directories of both."""
        return WatchSet(tuple(sorted({*self.directories, *other.directories})))


@dataclass(frozen=True)
class DesiredState:
    """What the files ask of all targets.

    A target in `held` keeps its state, for the problems that are listed there; its `Desired` carries them too. When `hold_all`
    is not empty, no target may be touched. `problems` is everything, sorted by place. `secrets` are values for the redactor.
    `kept` is what was asked of the targets that are held now when their files were last without problems, as far as this
    process knows: a target may be there that the files cannot even be seen to name. `source` is the commit that the files are
    of, None when they are of none. `nested` has, for each target whose keys could be keys of other targets as well, the
    namespaces of its store for which that is so, its own among them. `stable_in` is not None while some file may still be being
    written: its targets are as they were before, and it can be used in so many seconds, if it stays as it is. `warnings` hold
    nothing back. `revision` is a digest of what was read and of `vars`, the same on every machine, and of the commit.
    """

    targets: Mapping[Target, Desired]
    held: Mapping[Target, tuple[Problem, ...]]
    hold_all: tuple[Problem, ...]
    problems: tuple[Problem, ...]
    files: int
    entries: int
    watch: WatchSet
    digest: str
    secrets: tuple[str, ...] = field(default=(), repr=False)
    kept: Mapping[Target, Desired] = field(default_factory=dict)
    source: str | None = None
    nested: Mapping[Target, frozenset[str]] = field(default_factory=dict)
    stable_in: float | None = None
    warnings: tuple[Problem, ...] = ()
    revision: str = ""

    @lazy
    def managed(self) -> frozenset[Target]:
        """Every target that the files name, and those in `kept`."""
        return frozenset((*self.targets, *self.held, *self.kept))

    @lazy
    def is_applicable(self) -> bool:
        """True if all files could be read, and something of what they ask may be applied. Otherwise `revision` says nothing
        about which files are newer."""
        is_unreadable = bool(self.hold_all) or any(one.kind is Kind.UNREADABLE for one in self.problems)
        return not is_unreadable and any(target not in self.held for target in self.targets)

    def others(self, target: Target) -> OtherNamespaces:
        """The other managed namespaces of a target's store whose keys could be keys of the target too."""
        return OtherNamespaces(self.nested.get(target, frozenset()), target.namespace)

    def release(self, target: Target) -> None:
        """Free what was built of a target to compare it, until it is asked for again."""
        for state in (self.targets, self.kept):
            if (desired := state.get(target)) is not None:
                desired.release()

    def only(self, wanted: Callable[[Target], bool]) -> DesiredState:
        """The same of these targets alone. What is wrong with the files stays in `problems`, whomever it concerns."""
        targets = {target: desired for target, desired in self.targets.items() if wanted(target)}
        return replace(
            self,
            targets=targets,
            held={target: problems for target, problems in self.held.items() if wanted(target)},
            kept={target: desired for target, desired in self.kept.items() if wanted(target)},
            entries=sum(len(desired.entries) for desired in targets.values()),
        )


@dataclass(frozen=True)
class DocumentRows:
    """What one document asks of one target. `digest` covers all of it; `load` gives the `count` rows when they are needed.
    `policy` is None when the document has none of its own. With `is_source_only`, the document
    belongs to another target, and only moves the keys `moved` out of this one."""

    target: Target
    load: Callable[[], Rows] = field(repr=False)
    count: int
    digest: bytes
    policy: Policy | None = None
    policy_origin: Origin | None = None
    absent: Mapping[str, Origin] = field(default_factory=dict)
    moved: tuple[Move, ...] = ()
    is_source_only: bool = False

    @lazy
    def rows(self) -> Rows:
        """The rows, loaded once."""
        return self.load()

    def release(self) -> None:
        """Free the rows, which are loaded again when they are asked for."""
        self.__dict__.pop("rows", None)


@dataclass(frozen=True, slots=True)
class Reference:
    """Something besides the state file that it depends on: the content of a file, or the names in a folder, by digest."""

    kind: str
    path: str
    digest: bytes
    pattern: str = ""
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CompiledFile:
    """Compiled form of one state file and of the overlay in force.

    `targets` are those it names; `names_known` is false when there may be more. A unit that `is_crowded` names too many: it
    holds those of them that are known without it, and the others are not managed. A `private` unit holds a secret and is kept
    in memory only; `secrets` are the values themselves. A unit with problems has no chunks: `withheld` are those that it would
    have, as far as they could be read, and `keys` all keys that it writes, None where that cannot be known.
    """

    chunks: tuple[DocumentRows, ...]
    targets: tuple[Target, ...]
    names_known: bool
    problems: tuple[Problem, ...]
    references: tuple[Reference, ...]
    variables: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    private: bool = False
    is_crowded: bool = False
    warnings: tuple[Problem, ...] = ()
    withheld: tuple[DocumentRows, ...] = ()
    keys: frozenset[str] | None = None


@dataclass(slots=True)
class Reading:
    """Result of one reading of the state files. `units` are by slot (the path, and that of the overlay), each with the key it
    was compiled under; `fresh` are those that were not known before. `states` are what each slot was read from. `problems`
    are those that hold every target, `unsearched` those that hold the targets which files with certain grants may name,
    because nobody knows what a file, or the files in a folder, say. `unheld` hold no target. `sizes` are the bytes that each
    slot was read from. `named` is how many targets the slots name, a target once for each. A reading that has the same slots
    as the one of `base_version` differs from it in the slots `changed` at most."""

    units: dict[str, tuple[bytes, CompiledFile]] = field(default_factory=dict)
    fresh: dict[str, tuple[bytes, CompiledFile]] = field(default_factory=dict)
    states: dict[str, FileState] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unsearched: list[tuple[FileGrants, Problem]] = field(default_factory=list)
    unheld: list[Problem] = field(default_factory=list)
    named: int = 0
    files: int = 0
    watch: WatchSet = field(default_factory=WatchSet)
    changed_during_read: bool = False
    version: object = field(default_factory=object)
    base_version: object = None
    changed: frozenset[str] = frozenset()

    def changed_since(self, version: object) -> frozenset[str] | None:
        """The slots that may differ from the reading of a version; None if that is not known."""
        if version is self.version:
            return frozenset()
        return self.changed if version is not None and version is self.base_version else None

    def next(self, slots: Collection[str]) -> Reading:
        """A reading to be completed: this one, of which the slots are still to be read."""
        return Reading(
            dict(self.units),
            {},
            dict(self.states),
            dict(self.sizes),
            named=self.named - sum(len(self.units[slot][1].targets) for slot in slots),
            files=self.files,
            base_version=self.version,
            changed=frozenset(slots),
        )

    @property
    def size(self) -> int:
        """The bytes that all slots were read from."""
        return sum(self.sizes.values())

    @property
    def paths(self) -> set[str]:
        """The state files that there are, without overlays."""
        return {slot.partition("\0")[0] for slot in self.units}
