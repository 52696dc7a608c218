"""Checks for conflicts between documents and between targets, made once for each set of files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING

from kvsync.desired.assemble import conflicting_entries
from kvsync.desired.cache import Cache
from kvsync.desired.model import DocumentRows, StoreFacts
from kvsync.desired.views import TargetRows
from kvsync.desired.withheld import Withheld
from kvsync.errors import Problem
from kvsync.model.entry import Identity, Target
from kvsync.planning.namespaces import OtherNamespaces, namespaces_by_store
from kvsync.stores.extensions import NestedNamespaces

if TYPE_CHECKING:
    from kvsync.desired.key_conflicts import KeyConflict


class ConflictChecks:
    """Looks for entries that conflict. `most` bounds the problems of a target; `cache` knows what other runs found clean.
    `clean` has the digest of each target whose entries do not conflict."""

    def __init__(self, stores: Mapping[str, StoreFacts], cache: Cache, most: int) -> None:
        self._stores, self._cache, self._most = stores, cache, most
        self.clean: dict[Target, bytes] = {}
        self._apart: dict[Target, bytes] = {}

    def of_target(self, target: Target, rows: TargetRows, digest: bytes, withheld: Withheld) -> Iterable[Problem]:
        """What is wrong between the chunks of a target; looked for once for each state of it, unless files are withheld."""
        if not withheld.chunks and digest in (self.clean.get(target), self._cache.checked(target)):
            self.clean[target] = digest
            return ()
        found = tuple(islice(conflicting_entries(rows, withheld), self._most))
        if not found and not withheld.keys:
            self.clean[target] = digest
        return found

    def keep_clean(self, target: Target, before: bytes, digest: bytes) -> bool:
        """Note that an edit, after which a target has this digest, cannot have made entries conflict. False if they may have
        conflicted `before`."""
        if self.clean.get(target) != before:
            return False
        self.clean[target] = digest
        return True

    def between(self, group: Mapping[Target, tuple[Sequence[DocumentRows], bytes]]) -> Iterable[KeyConflict]:
        """What is wrong between targets whose keys could meet; looked for once for each state of them."""
        first, state = min(group), blake2b(digest_size=16)
        for target, (_, digest) in group.items():
            state.update(repr(target).encode(errors="surrogateescape"))
            state.update(digest)
        if self._apart.get(first) == state.digest():
            return ()
        from kvsync.desired.key_conflicts import find_key_conflicts  # only targets whose keys could meet pay for it

        names = namespaces_by_store(group)
        stores = ((name, self._stores[name]) for name in names)
        nesting = {name: store for name, store in stores if isinstance(store, NestedNamespaces)}

        def nested_namespace(target: Target, identity: Identity) -> str | None:
            if (store := nesting.get(target.store)) is None:
                return None
            return store.nested_namespace(
                target.namespace, identity, OtherNamespaces(names[target.store], target.namespace)
            )

        met = find_key_conflicts({target: chunks for target, (chunks, _) in group.items()}, nested_namespace)
        found = tuple(islice(met, self._most * len(group)))
        if not found:
            self._apart[first] = state.digest()
        return found
