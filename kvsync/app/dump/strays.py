"""Finds the keys of a store that belong to no namespace of its key format, and so to no state file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kvsync.app.dump.model import OmittedEntry
from kvsync.errors import StoreError
from kvsync.model.entry import Identity, identity_order
from kvsync.model.key_format import KeyFormat, is_encodable
from kvsync.planning.marks import MarkSigner
from kvsync.stores.extensions import KeyListing
from kvsync.stores.registry import open_store

if TYPE_CHECKING:
    from kvsync.app import Workspace
    from kvsync.stores.base import Store

_RAW: Final = "{key}"
_ANY: Final = "any"
"""A namespace for formats that do not hold one: it makes no difference there."""

_NOT_UTF8: Final = "its key is not valid UTF-8"
_NO_NAMESPACE: Final = 'key_format "{}" does not tell its namespace; run kvsync dump {}/NAMESPACE'


async def strays(workspace: Workspace, name: str, namespaces: Sequence[str], *, is_all: bool) -> list[OmittedEntry]:
    """The keys that no namespace of the store holds (`is_all`), or that look like keys of one of `namespaces` and are none.
    Raises StoreError."""
    store = workspace.stores[name]
    template = store.place(_ANY).scope.template
    keys = KeyFormat(template, native_labels=store.capabilities.labels)
    if isinstance(store, KeyListing):
        listed = [Identity(key) for key in sorted(await store.remote_keys())]
        return list(_outside_namespaces(listed, keys, namespaces, is_all=is_all))
    if keys.is_plain and namespaces:
        return []
    raw = open_store(replace(store.config, key_format=_RAW), replace(store.context, read_only=True, cache_dir=None))
    try:
        if keys.holds_namespace:
            found = await _listed(raw, _ANY)
            return list(_outside_namespaces(found, keys, namespaces, is_all=is_all))
        if not namespaces:
            return [OmittedEntry(identity, _NO_NAMESPACE.format(template, name)) for identity in await _tried(raw)]
        lists = [(namespace, await _listed(raw, namespace)) for namespace in namespaces]
    finally:
        await raw.aclose()
    return [one for namespace, found in lists for one in _outside_namespaces(found, keys, [namespace])]


async def _listed(raw: Store, namespace: str) -> list[Identity]:
    """The remote keys that a namespace holds."""
    snapshot = await raw.observe(namespace, MarkSigner(raw.context.owner, raw.place(namespace)))
    assert snapshot is not None  # no token was given
    return sorted(snapshot.require_complete().entries, key=identity_order)


async def _tried(raw: Store) -> list[Identity]:
    """The same where nobody knows a namespace: nothing, where the store does not know it either."""
    try:
        return await _listed(raw, _ANY)
    except StoreError:
        return []


def _outside_namespaces(
    found: Iterable[Identity], keys: KeyFormat, namespaces: Sequence[str], *, is_all: bool = False
) -> Iterator[OmittedEntry]:
    """What is an entry of none of the namespaces; without `is_all`, only what looks like an entry of one of them."""
    reason, known = f'its key does not fit key_format "{keys.template}"', frozenset(namespaces)
    is_divided = is_all and not keys.is_plain
    for identity in found:
        homes = [home for home in (keys.namespace_of(identity.key),) if home in known] if is_divided else namespaces
        is_of_others = keys.holds_namespace and not any(identity.key.startswith(keys.prefix(home)) for home in homes)
        if (is_all or not is_of_others) and not any(_fits(identity, keys, home) for home in homes):
            yield OmittedEntry(identity, reason if is_encodable(identity.key) else _NOT_UTF8)


def _fits(identity: Identity, keys: KeyFormat, namespace: str) -> bool:
    if (keys.holds_label and identity.label is not None) or not is_encodable(identity.key):
        return False
    return keys.decode(namespace, identity.key, identity.label) is not None
