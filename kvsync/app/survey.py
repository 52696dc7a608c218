"""Finds out what a store holds before anything is configured for it: its keys, and the key formats that they fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from kvsync.model.key_format import KeyFormat, is_encodable
from kvsync.planning.marks import MarkSigner
from kvsync.stores.extensions import KeyListing
from kvsync.stores.registry import open_store

if TYPE_CHECKING:
    from kvsync.app import Workspace
    from kvsync.stores.base import Store

PLAIN: Final = "{key}"
_DIVIDERS: Final = (":", "/", ".", "__")
_MOST_NAMESPACES: Final = 50
"""Maximum number of namespaces that is taken for a division on purpose."""


@dataclass(frozen=True, slots=True)
class FormatCandidate:
    """A key format, how many keys fit it, and how many of them each namespace has. The plain format has none: all keys are in
    one namespace, whose name is free."""

    key_format: str
    fits: int
    namespaces: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Survey:
    """What a store holds. `namespaces` are those that the server has, and `candidates` is empty then: keys are used as they
    are. Otherwise `keys` counts all keys, and the candidates say how these can be divided, the recommended one first."""

    namespaces: tuple[str, ...] = ()
    keys: int = 0
    candidates: tuple[FormatCandidate, ...] = ()


async def survey(workspace: Workspace, name: str) -> Survey:
    """Look at a store. Raises StoreError."""
    store = workspace.stores[name]
    default = store.place(name).scope.template
    if not isinstance(store, KeyListing) and not KeyFormat(default).holds_namespace:
        return Survey(tuple(await store.namespaces()))
    keys = await _keys(store, name)
    templates = dict.fromkeys((default, *(f"{{namespace}}{divider}{{key}}" for divider in _DIVIDERS), PLAIN))
    usable = [one for template in templates if (one := _with_format(store, template)) is not None]
    found = [_candidate(one, template, keys) for one, template in usable]
    return Survey(keys=len(keys), candidates=tuple(sorted(found, key=lambda one: _rank(one, len(keys)))))


def _rank(candidate: FormatCandidate, keys: int) -> tuple[bool, bool, int]:
    """What leaves nothing out comes first, and of that what divides the keys."""
    is_division = 0 < len(candidate.namespaces) <= _MOST_NAMESPACES
    return candidate.fits < keys, not is_division, -candidate.fits


async def _keys(store: Store, name: str) -> Sequence[str]:
    if isinstance(store, KeyListing):
        return sorted(await store.remote_keys())
    raw = open_store(replace(store.config, key_format=PLAIN), replace(store.context, read_only=True, cache_dir=None))
    try:
        snapshot = await raw.observe(name, MarkSigner(raw.context.owner, raw.place(name)))
    finally:
        await raw.aclose()
    assert snapshot is not None  # no token was given
    return sorted({identity.key for identity in snapshot.require_complete().entries})


def _with_format(store: Store, template: str) -> tuple[Store, str] | None:
    """The store with a key format, which comes with it; None for one that the store type does not take."""
    try:
        config = replace(store.config, key_format=template)
        return open_store(config, replace(store.context, read_only=True, cache_dir=None)), template
    except ValueError:
        return None


def _candidate(store: Store, template: str, keys: Sequence[str]) -> FormatCandidate:
    if template == PLAIN:
        return FormatCandidate(template, sum(map(is_encodable, keys)))
    homes = Counter(_namespaces_by_key(store, KeyFormat(template), keys))
    return FormatCandidate(template, homes.total(), dict(sorted(homes.items())))


def _namespaces_by_key(store: Store, keys: KeyFormat, found: Sequence[str]) -> Iterator[str]:
    """The namespace of each key that can be managed in one."""
    for key in found:
        home = keys.namespace_of(key)
        identity = None if home is None else keys.decode(home, key)
        with suppress(ValueError):
            if home is not None and identity is not None and store.remote_key(home, identity) == key:
                yield home
