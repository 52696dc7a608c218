"""Keys of one namespace in order, including recent versions for stale reads."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from kvsync.emulators.cloudflare.model import Pair
from kvsync.emulators.storage import Storage

_REMEMBERED: Final = 300.0  # seconds that reads may be late, and that a key which is gone is still a step in a listing


@dataclass(frozen=True, slots=True)
class View:
    """What a reader sees: everything as it is at `now`, but `earlier` in the place of what has changed since."""

    now: float
    earlier: Mapping[str, Pair | None] = field(default_factory=dict)


class Contents:
    """The pairs of one namespace by key."""

    def __init__(self, storage: Storage, namespace: str) -> None:
        self._storage, self._kind = storage, f"pairs/{namespace}"
        self._pairs = {name: Pair.read(document) for name, document in storage.items(self._kind)}
        self._changes: deque[tuple[float, str, Pair | None]] = deque()  # when, which key, and what it held until then
        self._order: list[str] | None = None

    def view(self, now: float, late: float) -> View:
        """What a reader sees who is `late` by so many seconds."""
        if not late:
            return View(now)
        earlier = {}
        for at, name, pair in reversed(self._changes):
            if at <= now - late:
                break
            earlier[name] = pair
        return View(now, earlier)

    def get(self, name: str, view: View) -> Pair | None:
        """What a key holds; None for what is not there or has expired."""
        pair = view.earlier[name] if name in view.earlier else self._pairs.get(name)
        return pair if pair is not None and pair.alive(view.now) else None

    def put(self, name: str, pair: Pair, now: float) -> None:
        """Replace what a key holds, whole."""
        if self._order is not None and name not in self._pairs:
            self._order = None
        self._remember(name, now)
        self._pairs[name] = pair
        if self._storage.is_persistent:
            self._storage.put(self._kind, name, pair.document())

    def delete(self, name: str, now: float) -> None:
        """Let a key hold nothing. Its place in the order stays for a while."""
        if name in self._pairs:
            self._remember(name, now)
            del self._pairs[name]
            self._storage.delete(self._kind, name)

    def clear(self) -> None:
        """Forget everything."""
        self._pairs, self._order = {}, None
        self._changes.clear()
        self._storage.clear(self._kind)

    def steps(self, prefix: str, after: str, view: View) -> Iterator[tuple[str, Pair | None]]:
        """Keys with a prefix in order, from the one after `after` on; with None those that are gone, but not for long."""
        order = self._ordered(view.now)
        for index in range(max(bisect_left(order, prefix), bisect_right(order, after)), len(order)):
            if not order[index].startswith(prefix):
                return
            yield order[index], self.get(order[index], view)

    def _ordered(self, now: float) -> list[str]:
        """All keys in the order of their UTF-8 bytes, which is that of their code points."""
        if self._order is None:
            self._sweep(now)
            self._order = sorted(self._pairs.keys() | {name for _, name, _ in self._changes})
        return self._order

    def _sweep(self, now: float) -> None:
        """Forget what expired long ago."""
        for name in [name for name, pair in self._pairs.items() if not pair.alive(now - _REMEMBERED)]:
            del self._pairs[name]
            self._storage.delete(self._kind, name)

    def _remember(self, name: str, now: float) -> None:
        self._changes.append((now, name, self._pairs.get(name)))
        while self._changes[0][0] < now - _REMEMBERED:
            self._changes.popleft()
