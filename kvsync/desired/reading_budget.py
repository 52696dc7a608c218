"""Limits of one state file, counted before anything is read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator
from functools import partial
from heapq import heappop, heappush

from kvsync.config.model import ReadLimits
from kvsync.desired.read_rules import TooMuchError, excess, shown_size


class ReadingBudget:
    """Counts what reading one state file costs, and enforces the limits. `largest` is the largest value in bytes that any
    configured store accepts, or None if a store accepts any size."""

    def __init__(self, limits: ReadLimits, largest: int | None = None) -> None:
        self._limits, self._largest = limits, largest
        self._files = self._values = self._steps = 0
        self._entries = self._expansion = 0
        self.size = 0
        """Bytes counted so far: of the state file, its overlay, and all files that they read values from."""

    @property
    def most_value(self) -> int:
        """Maximum size in bytes of a file that a value is read from."""
        return min(self._limits.value_file, self._limits.value_file if self._largest is None else self._largest)

    def take_steps(self, steps: int) -> None:
        """Count comparisons of names with patterns, before they are made. Raises TooMuchError."""
        self._steps += steps
        if self._steps > self._limits.pattern_steps:
            raise TooMuchError(
                f"matching the patterns takes more than {self._limits.pattern_steps:,} comparisons; "
                "use narrower patterns, or raise limits.pattern_steps"
            )

    def take_steps_for(self, _group: Hashable, steps: int) -> None:
        """Count comparisons, without separating groups. Raises TooMuchError."""
        self.take_steps(steps)

    def take_entries(self, number: int) -> None:
        """Count entries, before they are created. Raises TooMuchError."""
        self._entries += number
        if self._entries > self._limits.entries:
            raise TooMuchError(
                f"the state file has more than {self._limits.entries:,} entries; split it, or raise limits.entries"
            )

    def take_expansion(self, size: int) -> None:
        """Count bytes that the text of the file expands to, before they are allocated. Raises TooMuchError."""
        self._expansion += size
        if self._expansion > self._limits.expansion:
            raise TooMuchError(
                f"the state file expands to more than {shown_size(self._limits.expansion)}, because aliases, defaults, "
                "prefixes, labels and stores repeat its text; repeat less, or raise limits.expansion"
            )

    def take_text(self, size: int) -> None:
        """Count the bytes of the state file, or of its overlay."""
        self.size += size

    def drop_values(self) -> None:
        """Forget the counted files of values and comparisons, so that they can be counted again."""
        self.size -= self._values
        self._files = self._values = self._steps = 0

    def take_values(self, *sizes: int) -> None:
        """Count files that values are read from, given their sizes, before they are read. Raises TooMuchError."""
        limits = self._limits
        for size in sizes:
            self._check_value(size)
        if self._files + len(sizes) > limits.value_files:
            raise TooMuchError(
                f"the state file reads values from more than {limits.value_files:,} files; "
                "split it, or raise limits.value_files"
            )
        if self._values + sum(sizes) > limits.value_bytes:
            raise TooMuchError(
                f"the state file reads more than {shown_size(limits.value_bytes)} of values from other files; "
                "split it, or raise limits.value_bytes"
            )
        self._files += len(sizes)
        self._values += sum(sizes)
        self.size += sum(sizes)

    def _check_value(self, size: int) -> None:
        if self._largest is not None and size > self._largest:
            raise TooMuchError(excess(size, self._largest, "the configured stores allow at most"))
        if size > self._limits.value_file:
            raise TooMuchError(f"{excess(size, self._limits.value_file)}; raise limits.value_file")


class StepBudgets:
    """Counts comparisons of names with the patterns of `state:`, separately for each group of files with the same rights, so
    that one group cannot use up the limit of another."""

    def __init__(self, limits: ReadLimits) -> None:
        self._of_group: defaultdict[Hashable, ReadingBudget] = defaultdict(partial(ReadingBudget, limits))

    def take(self, group: Hashable, steps: int) -> None:
        """Count comparisons of names in a folder of a group, before they are made. Raises TooMuchError."""
        self._of_group[group].take_steps(steps)


class TotalBudget:
    """Total of all state files of one reading, in bytes or in targets: at most `limit`.

    Files are counted in groups with the same rights. Above the limit, the largest files of the largest group are left out, so
    that an author with rights to some targets cannot stop the files of authors with other rights."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sums: Counter[Hashable] = Counter()
        self._largest: defaultdict[Hashable, list[tuple[int, str]]] = defaultdict(list)

    def add(self, name: str, size: int, group: Hashable) -> Iterator[tuple[str, int]]:
        """Count one more file. Yields name and size of each file that must be left out."""
        heappush(self._largest[group], (-size, name))
        self._sums[group] += size
        while self._sums.total() > self._limit:
            heaviest, _ = self._sums.most_common(1)[0]
            negative, largest = heappop(self._largest[heaviest])
            self._sums[heaviest] += negative
            yield largest, -negative
