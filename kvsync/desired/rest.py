"""Files that are still being written: which of them have kept size, time and content for long enough to be used."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from kvsync.util.clock import Clock
from kvsync.util.values import dataclass

Stamp = tuple[int, int, int]
"""Inode, size and modification time (nanoseconds) of a file."""


_TICK = 0.001
"""Seconds; less does not count, as clocks are not exact."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What one state file, and what it takes values from, was at a look: `contents` by digest, `stamps` by file. `touched` is
    when any of it was last written, renamed or linked (epoch seconds)."""

    contents: tuple[bytes, ...]
    stamps: tuple[tuple[str, Stamp], ...]
    touched: float

    def is_same(self, before: FileState | None) -> bool:
        """True if nothing was written, renamed or linked since an earlier look."""
        return before is not None and (self.contents, self.stamps) == (before.contents, before.stamps)


class FileRest:
    """Compares looks at files. A file has rested once it was the same for `seconds`; one that is gone, once it was gone for as
    long. What a process finds when it starts has rested if it was not touched for as long."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self.seconds, self._clock = seconds, clock
        self._seen: Mapping[str, FileState] = {}
        self._since: dict[str, float] = {}
        """When those that have not rested were last changed, or were gone."""
        self._is_first = True

    def look(self, files: Mapping[str, FileState], may_differ: Collection[str] | None = None) -> Mapping[str, float]:
        """Look at all files. Returns those that have not rested, with the seconds that each still needs. If it is known which
        `may_differ` from the last look, the others are the same files, with the same names."""
        now, age = self._clock.monotonic(), self._clock.now()
        seen, self._seen = self._seen, files
        changed = [
            (name, files[name])
            for name in (files if may_differ is None else may_differ)
            if (before := seen.get(name)) is not files[name] and not files[name].is_same(before)
        ]
        gone = seen.keys() - files.keys() if may_differ is None else ()
        moved = [name for name, file in changed if not (self._is_first and abs(age - file.touched) >= self.seconds)]
        self._since.update(dict.fromkeys((*moved, *gone), now))
        self._is_first = False
        left = {name: since + self.seconds - now for name, since in self._since.items()}
        moving = {name: seconds for name, seconds in left.items() if seconds > _TICK}
        self._since = {name: self._since[name] for name in moving}
        return moving
