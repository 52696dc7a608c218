"""Places of targets, as far as the configuration says: which of them may share keys, and which lead to one place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kvsync.config.model import StoreConfig
from kvsync.desired.model import StoreFacts
from kvsync.errors import Problem
from kvsync.model.entry import Target
from kvsync.model.place import Overlap, Place, conflicts, groups_of, overlap_text
from kvsync.planning.namespaces import namespaces_by_store
from kvsync.stores.extensions import NestedNamespaces


class TargetPlaces:
    """Looks the places of targets up, once for each set of targets."""

    def __init__(self, stores: Mapping[str, StoreFacts], configs: Mapping[str, StoreConfig]) -> None:
        self._stores, self._configs = stores, configs
        self._known: frozenset[Target] | None = None
        self._groups: list[list[Target]] = []
        self._overlaps: list[Overlap] = []
        self._failed: dict[Target, Problem] = {}

    def groups(self, targets: Iterable[Target]) -> list[list[Target]]:
        """The targets whose keys could meet, by groups."""
        self._look(targets)
        return self._groups

    def problems(self, targets: Iterable[Target]) -> Iterator[tuple[Target, Problem]]:
        """What is wrong with where targets lead, with each of those concerned."""
        self._look(targets)
        yield from self._failed.items()
        for overlap in self._overlaps:
            origins = {target: self._configs[target.store].origin for target in (overlap.first, overlap.second)}
            problem = Problem(overlap_text(overlap, origins), origins[overlap.second])
            yield overlap.first, problem
            yield overlap.second, problem

    def nested(self, targets: Iterable[Target]) -> dict[Target, frozenset[str]]:
        """The namespaces of its store whose keys could be keys of a target too, for each target of which there are such."""
        groups = ((group, namespaces_by_store(group)) for group in self.groups(targets))
        return {target: names[target.store] for group, names in groups for target in group}

    def _look(self, targets: Iterable[Target]) -> None:
        asked = frozenset(targets)
        if self._known == asked:
            return
        self._failed = {}
        places = {target: place for target in asked if (place := self._place(target)) is not None}
        self._groups = groups_of(places)
        self._overlaps = conflicts(places, lambda name: isinstance(self._stores[name], NestedNamespaces))
        self._known = asked

    def _place(self, target: Target) -> Place | None:
        """The place of a target; None if its store fails to say, which holds this target only."""
        try:
            return self._stores[target.store].place(target.namespace)
        except Exception as error:  # noqa: BLE001 - the code of a store, which others may have written
            config = self._configs[target.store]
            message = (
                f"the store type {config.type} cannot tell where {target} leads: unexpected {type(error).__name__}"
            )
            self._failed[target] = Problem(message, config.origin, "this is a bug in the store type")
            return None
