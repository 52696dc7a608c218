"""Entries of a listing: settled ones are kept as fingerprints and become entries when they are asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, KeysView, Mapping
from typing import Any

from kvsync.model.entry import Actual, Identity


class ListedEntries(Mapping[Identity, Actual]):
    """Base of the `entries` of a snapshot. A subclass fills `settled` (as `Snapshot.settled`) and `others`, disjoint, and
    builds a settled entry in `_settled_entry`."""

    def __init__(self) -> None:
        self.settled: dict[Identity, bytes] = {}
        self.others: dict[Identity, Actual] = {}

    @abstractmethod
    def _settled_entry(self, identity: Identity, fingerprint: bytes) -> Actual:
        """One of the settled entries."""

    def __len__(self) -> int:
        return len(self.settled) + len(self.others)

    def __iter__(self) -> Iterator[Identity]:
        yield from self.settled
        yield from self.others

    def __contains__(self, identity: object) -> bool:
        return identity in self.settled or identity in self.others

    def __getitem__(self, identity: Identity) -> Actual:
        found = self.others.get(identity)
        return found if found is not None else self._settled_entry(identity, self.settled[identity])

    def get(self, identity: object, default: Any = None) -> Any:
        """The entry, or the default: most identities of a first apply are not there, and an exception for each costs more."""
        if (found := self.others.get(identity)) is not None:  # type: ignore[call-overload]
            return found
        fingerprint = self.settled.get(identity)  # type: ignore[call-overload]
        return default if fingerprint is None else self._settled_entry(identity, fingerprint)  # type: ignore[arg-type]

    def keys(self) -> KeysView[Identity]:
        """All identities, as a view with the set operations of a dict, which are faster."""
        return self.settled.keys() if not self.others else dict.fromkeys(self).keys()
