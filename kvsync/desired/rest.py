"""Files that are still being written: which of them have kept size, time and content for long enough to be used."""

from __future__ import annotations

from collections.abc import Mapping

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


class FileRest:
    """Compares looks at files. A file has rested once it was the same for `seconds`; one that is gone, once it was gone for as
    long. What a process finds when it starts has rested if it was not touched for as long."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self.seconds, self._clock = seconds, clock
        self._seen: dict[str, tuple[tuple[object, ...] | None, float]] = {}
        self._is_first = True

    def look(self, files: Mapping[str, FileState]) -> Mapping[str, float]:
        """Look at all files. Returns those that have not rested, with the seconds that each still needs."""
        now, age = self._clock.monotonic(), self._clock.now()
        for name in {*self._seen, *files}:
            file = files.get(name)
            state = None if file is None else (file.contents, file.stamps)
            if name not in self._seen or self._seen[name][0] != state:
                rested = self._is_first and file is not None and abs(age - file.touched) >= self.seconds
                self._seen[name] = state, now - self.seconds if rested else now
        left = {name: since + self.seconds - now for name, (_, since) in self._seen.items()}
        moving = {name: seconds for name, seconds in left.items() if seconds > _TICK}
        self._seen = {name: seen for name, seen in self._seen.items() if seen[0] is not None or name in moving}
        self._is_first = False
        return moving
