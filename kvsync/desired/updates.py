"""What stays as it was in the desired state when the content of a few files changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from hashlib import blake2b
from typing import NamedTuple

from kvsync.desired.model import CompiledFile, DesiredState, DocumentRows, Reading
from kvsync.desired.rest import FileState
from kvsync.model.entry import Target

Units = Mapping[str, tuple[bytes, CompiledFile]]


class CleanState(NamedTuple):
    """What files without any problem came to: their units, the digest of each target, and what they ask."""

    units: Units
    digests: Mapping[Target, bytes]
    state: DesiredState


class ReadingDigest:
    """Digest of what was read, and of the variables of the configuration that templates use, without how kvsync understands it:
    the same for replicas with other versions and credentials. Only what changed is digested again."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = b"".join(_digest(f"{name}={value}") for name, value in sorted(variables.items()))
        self._states: Mapping[str, FileState] = {}
        self._parts: dict[str, bytes] = {}

    def of(self, states: Mapping[str, FileState]) -> str:
        """The digest of the slots with these states."""
        before, self._states = self._states, states
        if before.keys() != states.keys():
            before, self._parts = {}, dict.fromkeys(sorted(states), b"")
        for slot, state in states.items():
            if before.get(slot) is not state:
                self._parts[slot] = _digest(slot) + b"".join(state.contents)
        return blake2b(b"".join((self._variables, *self._parts.values())), digest_size=16).hexdigest()


def is_clean(reading: Reading, units: Iterable[CompiledFile]) -> bool:
    """True if nothing is wrong with a reading and these units of it."""
    if reading.problems or reading.unsearched or reading.unheld:
        return False
    return all(unit.names_known and not (unit.problems or unit.is_crowded) for unit in units)


def concerned_targets(before: CleanState, reading: Reading) -> Set[Target] | None:
    """The targets of the units that changed; None if files or targets came, or if something is wrong."""
    if before.units.keys() != reading.units.keys():
        return None
    changed = {slot: unit for slot, (_, unit) in reading.units.items() if unit is not before.units[slot][1]}
    if not is_clean(reading, changed.values()):
        return None
    found = {target for slot, unit in changed.items() for target in (*_named(unit), *_named(before.units[slot][1]))}
    return found if found <= before.digests.keys() else None


def chunks_of(units: Units, targets: Set[Target]) -> dict[Target, list[DocumentRows]]:
    """What the units ask of these targets, in their order; without those that no unit names."""
    chunks: dict[Target, list[DocumentRows]] = {}
    for _, unit in units.values() if targets else ():
        for target in unit.targets:
            if target in targets:
                chunks.setdefault(target, [])
        for chunk in unit.chunks:
            if chunk.target in targets:
                chunks.setdefault(chunk.target, []).append(chunk)
    return chunks


def _named(unit: CompiledFile) -> tuple[Target, ...]:
    return (*unit.targets, *(chunk.target for chunk in unit.chunks))


def _digest(text: str) -> bytes:
    return blake2b(text.encode(errors="surrogateescape"), digest_size=16).digest()
