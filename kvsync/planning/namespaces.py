"""The other namespaces of a store, as one of its targets sees them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

from kvsync.model.entry import Target


class OtherNamespaces(Collection[str]):
    """All namespaces of a store except one. A view: thousands of targets share one set of names."""

    def __init__(self, namespaces: frozenset[str], own: str) -> None:
        self._namespaces, self._own = namespaces, own

    def __contains__(self, name: object) -> bool:
        return name != self._own and name in self._namespaces

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._namespaces if name != self._own)

    def __len__(self) -> int:
        return len(self._namespaces) - (self._own in self._namespaces)


def namespaces_by_store(targets: Iterable[Target]) -> Mapping[str, frozenset[str]]:
    """Group the namespaces of targets by the name of their store."""
    namespaces: defaultdict[str, set[str]] = defaultdict(set)
    for target in targets:
        namespaces[target.store].add(target.namespace)
    return {store: frozenset(names) for store, names in namespaces.items()}
