"""Items of one application, in listing order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from kvsync.emulators.storage import Storage


@dataclass(frozen=True, slots=True)
class Item:
    """What one key holds. `expires_at` is in whole seconds since the Unix epoch; `place` and `written` count writes."""

    key: str
    value: str
    expires_at: int
    place: int = 0
    written: int = 0

    def alive(self, now: float) -> bool:
        """Whether it has not expired yet."""
        return now < self.expires_at

    def document(self) -> dict[str, Any]:
        """As the API shows it."""
        return {"key": self.key, "value": self.value, "expires_at": self.expires_at}


class Contents:
    """Items by key. What has expired is not there."""

    def __init__(self, storage: Storage, application: int, order: str, seed: int) -> None:
        self._storage, self._kind = storage, f"items/{application}"
        self._items = {name: Item(**json.loads(document)) for name, document in storage.items(self._kind)}
        self._written = max((item.written for item in self._items.values()), default=0)
        self._rank = _ranks(seed)[order]

    def get(self, key: str, now: float) -> Item | None:
        """What a key holds; None for what is not there or has expired."""
        found = self._items.get(key)
        return found if found is not None and found.alive(now) else None

    def put(self, item: Item, now: float) -> None:
        """Replace what its key holds. A key keeps its place as long as it is there."""
        before = self.get(item.key, now)
        self._written += 1
        place = before.place if before else self._written
        item = replace(item, place=place, written=self._written)
        self._items[item.key] = item
        if self._storage.is_persistent:
            self._storage.put(self._kind, item.key, json.dumps(asdict(item)))

    def delete(self, key: str) -> None:
        """Let a key hold nothing."""
        if self._items.pop(key, None) is not None:
            self._storage.delete(self._kind, key)

    def clear(self) -> None:
        """Forget everything."""
        self._items, self._written = {}, 0
        self._storage.clear(self._kind)

    def matching(self, pattern: str, match: str, now: float) -> list[Item]:
        """The items whose keys match a pattern, in order; every item matches ""."""
        for key in [key for key, item in self._items.items() if not item.alive(now)]:
            self.delete(key)
        fits = MATCHES[match]
        found = (item for item in self._items.values() if not pattern or fits(item.key, pattern))
        return sorted(found, key=self._rank)


def _in_namespace(key: str, pattern: str) -> bool:
    """Namespaces may be nested, and a colon at the end of a pattern says nothing."""
    name = pattern.removesuffix(":")
    return key == name or key.startswith(f"{name}:")


def _in_first_level(key: str, pattern: str) -> bool:
    """The namespace of a key is what stands before its first colon: no pattern with a colon in it finds anything."""
    return key.partition(":")[0] == pattern


MATCHES: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "prefix": str.startswith,
    "namespace": _in_namespace,
    "strict": _in_first_level,
}


def _ranks(seed: int) -> dict[str, Callable[[Item], Any]]:
    return {
        "insertion": lambda item: item.place,
        "written": lambda item: item.written,
        "key": lambda item: item.key,
        "random": lambda item: hashlib.blake2b(f"{seed}/{item.key}".encode()).digest(),
    }
