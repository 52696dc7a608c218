"""Scope of a target: selects its entries from a listing, without those that the policy ignores."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final, cast

from kvsync.model.desired import Desired
from kvsync.model.snapshot import Snapshot
from kvsync.planning.compare import key_matcher, keys_to_match
from kvsync.stores.base import Store
from kvsync.stores.extensions import NestedNamespaces, has_extension
from kvsync.util.background import in_background

_FEW_COMPARISONS: Final = 1_000_000
"""Characters of patterns times keys that are matched in the event loop, in a few milliseconds. More are matched in a thread."""


def own_part(store: Store, snapshot: Snapshot, siblings: Collection[str]) -> Snapshot:
    """The snapshot without entries of nested targets, whose namespaces are among `siblings`: only their own passes plan
    them."""
    if not siblings or not has_extension(store, NestedNamespaces):
        return snapshot
    nested_namespace, namespace = cast("NestedNamespaces", store).nested_namespace, snapshot.target.namespace
    others = {key for key in snapshot.entries if nested_namespace(namespace, key, siblings) is not None}
    if not others:
        return snapshot
    entries = {key: one for key, one in snapshot.entries.items() if key not in others}
    settled = {key: one for key, one in snapshot.settled.items() if key in entries}
    return replace(snapshot, entries=entries, settled=settled)


async def ignored_keys(desired: Desired, snapshot: Snapshot) -> Callable[[str], bool]:
    """The test for keys that the policy ignores.

    State files can add patterns, so many of them are matched in a thread: they may cost their own target time, but must not
    block the event loop.
    """
    globs = desired.policy.ignore
    keys = list(keys_to_match(desired, snapshot)) if globs else []
    if sum(map(len, globs)) * (len(keys) + 1) < _FEW_COMPARISONS:
        return key_matcher(globs)

    def found() -> frozenset[str]:
        is_ignored = key_matcher(globs)
        return frozenset(key for key in keys if is_ignored(key))

    return (await in_background(found)).__contains__
