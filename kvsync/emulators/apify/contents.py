"""Records of one store, in key order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from kvsync.emulators.apify.model import Record
from kvsync.emulators.storage import Storage


class Contents:
    """Records by key. `size` is that of all of them, in bytes as they are stored."""

    def __init__(self, storage: Storage, store: str) -> None:
        self._storage, self._kind = storage, f"records/{store}"
        self._records = {key: Record.read(document) for key, document in storage.items(self._kind)}
        self._order: list[str] | None = None
        self.size = sum(len(record.body) for record in self._records.values())

    def get(self, key: str) -> Record | None:
        """What a key holds; None for nothing."""
        return self._records.get(key)

    def put(self, key: str, record: Record) -> None:
        """Replace what a key holds, whole."""
        self.size += len(record.body) - self._weight(key)
        if key not in self._records:
            self._order = None
        self._records[key] = record
        if self._storage.is_persistent:
            self._storage.put(self._kind, key, record.document())

    def delete(self, key: str) -> None:
        """Let a key hold nothing."""
        self.size -= self._weight(key)
        if self._records.pop(key, None) is not None:
            self._order = None
            self._storage.delete(self._kind, key)

    def clear(self) -> None:
        """Forget everything."""
        self._records, self._order, self.size = {}, None, 0
        self._storage.clear(self._kind)

    def items(self, prefix: str = "", after: str = "") -> Iterator[tuple[str, Record]]:
        """Keys with a prefix and what they hold, in the order of their bytes, from the one behind `after` on."""
        if self._order is None:
            self._order = sorted(self._records)
        order = self._order
        for index in range(max(bisect_left(order, prefix), bisect_right(order, after)), len(order)):
            if not order[index].startswith(prefix):
                return
            yield order[index], self._records[order[index]]

    def _weight(self, key: str) -> int:
        found = self._records.get(key)
        return len(found.body) if found else 0
