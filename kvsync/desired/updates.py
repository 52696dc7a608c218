"""Incremental update of the desired state: keeps the parts that a change of a few files does not affect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from hashlib import blake2b
from typing import NamedTuple

from kvsync.desired.file_stability import FileState
from kvsync.desired.model import CompiledFile, DesiredState, DocumentRows, Reading
from kvsync.model.entry import Target

Units = Mapping[str, tuple[bytes, CompiledFile]]
Chunks = Mapping[Target, Sequence[DocumentRows]]


class CleanState(NamedTuple):
    """Result of a reading without problems: its version and units, the digest of each target, what the files ask, and the
    chunks of each target, in the order of the units."""

    version: object
    units: Units
    digests: Mapping[Target, bytes]
    state: DesiredState
    chunks: Chunks


class ReadingDigest:
    """Digest of what was read, and of the variables of the configuration that templates use, without how kvsync understands it:
    the same for replicas with other versions and credentials. Only what changed is digested again."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = b"".join(_digest(f"{name}={value}") for name, value in sorted(variables.items()))
        self._version: object = None
        self._states: Mapping[str, FileState] = {}
        self._parts: dict[str, bytes] = {}

    def of(self, reading: Reading) -> str:
        """The digest of what was read."""
        states, before, changed = reading.states, self._states, reading.changed_since(self._version)
        self._version, self._states = reading.version, states
        if changed is None and before.keys() != states.keys():
            before, self._parts = {}, dict.fromkeys(sorted(states), b"")
        for slot in states if changed is None else changed:
            if before.get(slot) is not states[slot]:
                self._parts[slot] = _digest(slot) + b"".join(states[slot].contents)
        return blake2b(b"".join((self._variables, *self._parts.values())), digest_size=16).hexdigest()


def is_clean(reading: Reading, units: Iterable[CompiledFile]) -> bool:
    """True if nothing is wrong with a reading and these units of it."""
    if reading.problems or reading.unsearched or reading.unheld:
        return False
    return all(unit.names_known and not (unit.problems or unit.is_crowded) for unit in units)


def changed_units(before: CleanState, reading: Reading) -> Mapping[str, CompiledFile]:
    """The units that are other ones than before, where both have the same slots."""
    known = reading.changed_since(before.version)
    slots = reading.units if known is None else sorted(known)
    pairs = ((slot, reading.units[slot][1]) for slot in slots)
    return {slot: unit for slot, unit in pairs if unit is not before.units[slot][1]}


def concerned_targets(before: CleanState, reading: Reading) -> Set[Target] | None:
    """The targets of the units that changed; None if files or targets came, or if something is wrong."""
    if reading.changed_since(before.version) is None and before.units.keys() != reading.units.keys():
        return None
    changed = changed_units(before, reading)
    if not is_clean(reading, changed.values()):
        return None
    found = {target for slot, unit in changed.items() for target in (*_named(unit), *_named(before.units[slot][1]))}
    return found if found <= before.digests.keys() else None


def updated_chunks(before: CleanState, reading: Reading) -> Chunks | None:
    """The chunks of each target now; None if a unit names other targets than before. Only the units that changed are looked
    at: their chunks take the places of those that they had."""
    chunks = dict(before.chunks)
    for slot, unit in changed_units(before, reading).items():
        old = before.units[slot][1]
        if set(_named(unit)) != set(_named(old)):
            return None
        for target in dict.fromkeys(_named(unit)):
            was, now = ([chunk for chunk in one.chunks if chunk.target == target] for one in (old, unit))
            if len(was) != len(now):
                return None
            new = {id(chunk): by for chunk, by in zip(was, now, strict=True)}
            chunks[target] = [new.get(id(chunk), chunk) for chunk in chunks[target]]
    return chunks


def _named(unit: CompiledFile) -> tuple[Target, ...]:
    return (*unit.targets, *(chunk.target for chunk in unit.chunks))


def _digest(text: str) -> bytes:
    return blake2b(text.encode(errors="surrogateescape"), digest_size=16).digest()
