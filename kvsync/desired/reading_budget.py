"""Limits of one state file, counted before anything is read."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush

from kvsync.config.model import ReadLimits
from kvsync.desired.jail import TooMuchError, shown_size


class ReadingBudget:
    """Counts what one state file takes. `largest` is the largest value that any configured store takes, in bytes; None where
    one takes any."""

    def __init__(self, limits: ReadLimits, largest: int | None = None) -> None:
        self._limits, self._largest = limits, largest
        self._files = self._values = self._steps = 0
        self.size = 0
        """Bytes taken so far: of the state file, its overlay, and all that they take values from."""

    @property
    def most_value(self) -> int:
        """The largest file in bytes that a value may be taken from."""
        return min(self._limits.value_file, self._limits.value_file if self._largest is None else self._largest)

    def take_steps(self, steps: int) -> None:
        """Count comparisons of names with patterns, before they are made. Raises TooMuchError."""
        self._steps += steps
        if self._steps > self._limits.pattern_steps:
            raise TooMuchError(
                f"the patterns need more than {self._limits.pattern_steps:,} comparisons; "
                "use narrower patterns, or raise limits.pattern_steps"
            )

    def take_text(self, size: int) -> None:
        """Count the bytes of the state file, or of its overlay."""
        self.size += size

    def forget_values(self) -> None:
        """Count the files that values are taken from again."""
        self.size -= self._values
        self._files = self._values = self._steps = 0

    def take_values(self, *sizes: int) -> None:
        """Count files that values are taken from, before they are read. Raises TooMuchError."""
        limits = self._limits
        for size in sizes:
            self._check_value(size)
        if self._files + len(sizes) > limits.value_files:
            raise TooMuchError(
                f"the state file reads values from more than {limits.value_files:,} files; raise limits.value_files"
            )
        if self._values + sum(sizes) > limits.value_bytes:
            raise TooMuchError(
                f"the state file reads values of more than {shown_size(limits.value_bytes)} from files; "
                "split it, or raise limits.value_bytes"
            )
        self._files += len(sizes)
        self._values += sum(sizes)
        self.size += sum(sizes)

    def _check_value(self, size: int) -> None:
        if self._largest is not None and size > self._largest:
            raise TooMuchError(
                f"it is too large: {shown_size(size)}; the configured stores allow at most {shown_size(self._largest)}"
            )
        if size > self._limits.value_file:
            raise TooMuchError(
                f"it is too large: {shown_size(size)}; the limit is {shown_size(self._limits.value_file)}; "
                "raise limits.value_file"
            )


class TotalBudget:
    """The sizes in bytes of all state files of a reading, with what they take values from: at most `limit` together."""

    def __init__(self, limit: int) -> None:
        self._limit, self._sum = limit, 0
        self._largest: list[tuple[int, str]] = []

    def add(self, name: str, size: int) -> Iterator[tuple[str, int]]:
        """Count one more. Gives the names and sizes of the largest ones that are to be given up, so that no small file pays for
        a large one."""
        heappush(self._largest, (-size, name))
        self._sum += size
        while self._sum > self._limit:
            negative, largest = heappop(self._largest)
            self._sum += negative
            yield largest, -negative
