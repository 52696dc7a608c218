"""Readable parts of files with problems: they are not applied, but other entries may refer to them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import field

from kvsync.desired.model import CompiledFile, DocumentRows, Reading
from kvsync.model.entry import Target
from kvsync.util.values import dataclass


@dataclass(slots=True)
class Withheld:
    """What files with problems write for one target: the documents that could be read, and the keys of each file, None where it
    may have any."""

    chunks: list[DocumentRows] = field(default_factory=list)
    keys: list[frozenset[str] | None] = field(default_factory=list)

    def may_have(self, key: str) -> bool:
        """True if a file writes this key, or may write it."""
        return any(names is None or key in names for names in self.keys)


class WithheldFiles:
    """The files with problems of one reading."""

    def __init__(self, reading: Reading) -> None:
        units = [unit for _, unit in reading.units.values()]
        is_unknown = reading.problems or reading.unsearched or not all(unit.names_known for unit in units)
        self._always: list[frozenset[str] | None] = [None] if is_unknown else []
        self._found: defaultdict[Target, Withheld] = defaultdict(Withheld)
        for unit in units:
            if unit.problems:
                self._take(unit)

    def of(self, target: Target) -> Withheld:
        """What they write for a target."""
        found = self._found.get(target, Withheld())
        return Withheld(found.chunks, [*self._always, *found.keys])

    def _take(self, unit: CompiledFile) -> None:
        for target in unit.targets:
            self._found[target].keys.append(unit.keys)
        for chunk in unit.withheld:
            if chunk.target in self._found:  # a file may name a target that it must not
                self._found[chunk.target].chunks.append(chunk)
