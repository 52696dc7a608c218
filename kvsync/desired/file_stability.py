"""Detects files that are still being written: a file is stable once size, time and content did not change for a while."""

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
    """State of one state file, and of the files that it takes values from, when they were read: `contents` by digest, `stamps`
    by file. `touched` is when any of them was last written, renamed or linked (epoch seconds)."""

    contents: tuple[bytes, ...]
    stamps: tuple[tuple[str, Stamp], ...]
    touched: float

    def is_same(self, before: FileState | None) -> bool:
        """True if nothing was written, renamed or linked since an earlier reading."""
        return before is not None and (self.contents, self.stamps) == (before.contents, before.stamps)


class FileStability:
    """Compares readings of files. A file is stable once it was the same for `seconds`; a deleted one, once it was gone for as
    long. A file that a process finds when it starts is stable if it was not touched for as long."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self.seconds, self._clock = seconds, clock
        self._seen: Mapping[str, FileState] = {}
        self._since: dict[str, float] = {}
        """When those that are not stable were last changed, or were gone."""
        self._is_first = True

    def unstable(
        self, files: Mapping[str, FileState], may_differ: Collection[str] | None = None
    ) -> Mapping[str, float]:
        """Compare all files with the last reading. Returns those that are not stable, with the seconds until each is. If known,
        `may_differ` are those that can differ from it; the others are the same files, with the same names."""
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
