"""Comparison of two environments, stores or targets, entry by entry."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from kvsync.app.configuration import read_config
from kvsync.app.open import open_workspace
from kvsync.app.workspace import Workspace
from kvsync.desired import DesiredState
from kvsync.errors import InvalidInput, PermanentError, StoreError, UsageError
from kvsync.model.canonical import fingerprint
from kvsync.model.entry import Actual, Content, Identity, Target, identity_order
from kvsync.model.pass_options import PassOptions

_PARTS: Final = ("value", "content_type", "tags", "metadata", "description")
_SAME_END: Final = 1
"""Seconds by which the moment of an expiry may differ: some stores keep whole seconds."""


class Side(StrEnum):
    """Where an entry is."""

    ONLY_A = "only-a"
    ONLY_B = "only-b"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class ComparedEntry:
    """An entry that is not equal on both sides. `parts` say what differs; `a` and `b` are the contents, None where there is
    none or it must not be shown."""

    identity: Identity
    side: Side
    parts: tuple[str, ...] = ()
    is_hidden: bool = False
    a: Content | None = field(default=None, repr=False)
    b: Content | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ComparedTarget:
    """One pair of targets. `error` says why they could not be compared."""

    a: Target
    b: Target
    equal: int = 0
    entries: tuple[ComparedEntry, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class CompareReport:
    """What was compared, as it is called, and what was found."""

    a: str
    b: str
    targets: tuple[ComparedTarget, ...]

    @property
    def is_equal(self) -> bool:
        """True when every entry is the same on both sides."""
        return not any(one.entries or one.error for one in self.targets)


@dataclass(frozen=True, slots=True)
class _Lifetime:
    """When an entry ends: `ttl` seconds after a write, or at the moment `until`. Neither is known of entries that kvsync does
    not own, because the store shows only when they end."""

    ttl: int | None = None
    until: float | None = None

    def may_equal(self, other: _Lifetime) -> bool:
        """False if both are known and differ."""
        if _UNKNOWN in (self, other):
            return True
        return self.ttl == other.ttl and abs((self.until or 0) - (other.until or 0)) <= _SAME_END


_UNKNOWN: Final = _Lifetime()


@dataclass(frozen=True, slots=True)
class _ComparedContent:
    """An entry as it is compared. `lifetime` is None if it does not end. `is_ours` says that its content may be shown."""

    content: Content
    lifetime: _Lifetime | None
    is_ours: bool
    is_sensitive: bool


@dataclass(frozen=True, slots=True)
class _LoadedSide:
    """One side of a comparison: an open workspace with its desired state."""

    workspace: Workspace
    loaded: DesiredState

    async def entries(self, target: Target, *, in_files: bool) -> Mapping[Identity, _ComparedContent]:
        """The entries of a target, as the files ask or as the store holds them. Raises StoreError, StateDirError."""
        desired = self.loaded.targets.get(target)
        wanted = {} if desired is None else desired.entries
        longest = self.workspace.stores[target.store].capabilities.longest
        if in_files:
            return {
                name: _ComparedContent(one.content, _lifetime(one.ttl, one.expires_at, longest), True, one.sensitive)
                for name, one in wanted.items()
            }
        place = await self.workspace.find_place(target)
        looking = self.workspace.target_pass(target, place, self.loaded, PassOptions())
        held = await looking.held()
        for name, why in looking.observer.unread.items():
            raise PermanentError(f"{target}/{name.key} could not be read, so nothing is compared: {why}")
        owner = self.workspace.config.owner
        return {
            name: _ComparedContent(
                one.content,
                _held_lifetime(one, owner, longest),
                one.mark is not None and one.mark.owner == owner,
                (one.mark is not None and one.mark.sensitive) or (name in wanted and wanted[name].sensitive),
            )
            for name, one in held.items()
            if one.content is not None
        }


async def compare(file: Path, environment: str | None, a: str, b: str, *, in_files: bool) -> CompareReport:
    """Compare two environments by name, or two stores or targets of the environment in force. Raises InvalidInput, UsageError,
    StateDirError."""
    declared = read_config(file, environment=environment, environ=os.environ).environments
    if a in declared and b in declared:
        async with _opened(file, (a, b)) as (one, other):
            pairs = [(target, target) for target in sorted({*one.loaded.managed, *other.loaded.managed})]
            return CompareReport(a, b, await _compare(one, other, pairs, in_files=in_files))
    async with _opened(file, (environment,)) as (half,):
        pairs = _pairs(half.loaded.managed, a, b, declared)
        return CompareReport(a, b, await _compare(half, half, pairs, in_files=in_files))


@asynccontextmanager
async def _opened(file: Path, environments: Sequence[str | None]) -> AsyncIterator[tuple[_LoadedSide, ...]]:
    async with AsyncExitStack() as stack:
        sides = []
        for environment in environments:
            workspace = await stack.enter_async_context(open_workspace(file, environment=environment))
            loaded = workspace.load()
            if loaded.problems:
                raise InvalidInput(loaded.problems)
            sides.append(_LoadedSide(workspace, loaded))
        yield tuple(sides)


def _pairs(managed: Collection[Target], a: str, b: str, declared: Collection[str]) -> list[tuple[Target, Target]]:
    """Two targets, or those of two stores by namespace. Raises UsageError."""
    names = {str(target): target for target in managed}
    if a in names and b in names:
        return [(names[a], names[b])]
    stores = {target.store for target in managed}
    if not stores.issuperset((a, b)):
        known = {*declared, *stores, *names}
        unknown = next((name for name in (a, b) if name not in known), None)
        what = f"unknown {unknown!r}" if unknown is not None else f"{a!r} and {b!r} cannot be compared"
        raise UsageError(f"{what}; give two environments, two stores or two targets, out of {', '.join(sorted(known))}")
    spaces = sorted({target.namespace for target in managed if target.store in (a, b)})
    return [(Target(a, space), Target(b, space)) for space in spaces]


async def _compare(
    one: _LoadedSide, other: _LoadedSide, pairs: Sequence[tuple[Target, Target]], *, in_files: bool
) -> tuple[ComparedTarget, ...]:
    found = []
    for a, b in pairs:
        try:
            left = await one.entries(a, in_files=in_files) if a in one.loaded.managed else {}
            right = await other.entries(b, in_files=in_files) if b in other.loaded.managed else {}
        except StoreError as error:
            found.append(ComparedTarget(a, b, error=str(error)))
            continue
        entries = [
            _entry(name, left.get(name), right.get(name)) for name in sorted({*left, *right}, key=identity_order)
        ]
        differing = tuple(one for one in entries if one is not None)
        found.append(ComparedTarget(a, b, len(entries) - len(differing), differing))
    return tuple(found)


def _entry(identity: Identity, a: _ComparedContent | None, b: _ComparedContent | None) -> ComparedEntry | None:
    """How an entry differs, None where it is equal."""
    both = [one for one in (a, b) if one is not None]
    hidden = any(one.is_sensitive or not one.is_ours for one in both)
    contents = [None if hidden or one is None else one.content for one in (a, b)]
    if a is None or b is None:
        return ComparedEntry(identity, Side.ONLY_B if a is None else Side.ONLY_A, (), hidden, *contents)
    parts = [] if fingerprint(a.content) == fingerprint(b.content) else _parts(a.content, b.content)
    parts += [] if _is_same(a.lifetime, b.lifetime) else ["lifetime"]
    return ComparedEntry(identity, Side.DIFFERS, tuple(parts), hidden, *contents) if parts else None


def _lifetime(ttl: int | None, until: float | None, longest: int | None) -> _Lifetime | None:
    """The lifetime that is declared. The `longest` of a store in which every entry ends means that kvsync keeps the entry."""
    if ttl is not None:
        return None if ttl == longest else _Lifetime(ttl)
    return None if until is None else _Lifetime(until=until)


def _held_lifetime(actual: Actual, owner: str, longest: int | None) -> _Lifetime | None:
    """The lifetime of an entry in a store: of ours, the one that kvsync applied."""
    if actual.mark is None or actual.mark.owner != owner:
        return None if actual.expires_at is None else _UNKNOWN
    return _lifetime(actual.mark.ttl, actual.expires_at, longest)


def _is_same(a: _Lifetime | None, b: _Lifetime | None) -> bool:
    return a is b if a is None or b is None else a.may_equal(b)


def _parts(a: Content, b: Content) -> list[str]:
    return [part for part in _PARTS if getattr(a, part) != getattr(b, part)]
