"""A model of entry ownership derived from the history of all writes, independent of kvsync's own rules.

It keeps a dictionary of the marks that were made, with the place, key, label and owner key each was made for, and what each
machine has seen in agreement with its files. From that the table in `docs/safety.md` says what a pass may do, and must do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple

from kvsync.model.entry import Mark
from kvsync.stores.memory.backend import RemoteKey, StoredEntry

Keys = tuple[bytes, ...]


class EntryAddress(NamedTuple):
    """One entry for all time: the id of its namespace, its key and its label."""

    container: str
    slot: RemoteKey


class ExpectedFate(Enum):
    """What a pass without disturbance must do with an entry."""

    AS_DESIRED = "brought to what the files ask"
    DELETED = "deleted"
    REFUSED = "left as it is, and refused with a reason"
    ALONE = "left as it is"


@dataclass(frozen=True)
class KnownEntry:
    """What a machine applied to an entry, or found as desired. Out of sight: gone since without its doing."""

    value: str
    in_sight: bool = True


Rows = Mapping[EntryAddress, KnownEntry]


@dataclass(frozen=True)
class StoredDocument:
    """A ledger that a store keeps: where it was written, with which owner key, how often, and what it says."""

    container: str
    key: bytes | None
    revision: int
    rows: Rows


@dataclass
class MachineState:
    """What one machine knows: the rows of its ledger, and the newest document that it saw, by namespace."""

    rows: dict[EntryAddress, KnownEntry] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)

    def copy(self) -> MachineState:
        """The same, for a backup."""
        return MachineState(dict(self.rows), dict(self.revisions))


@dataclass
class OwnerMachine:
    """One machine of an owner, with the files it goes by and the owner keys of the moment."""

    name: str
    owner: str
    files: dict[RemoteKey, str]
    keys: Keys = ()
    memory: MachineState = field(default_factory=MachineState)
    adopt: str = "if-equal"


class ObservedPass(NamedTuple):
    """One pass of a machine over a container, with what the container held before and after it."""

    actor: OwnerMachine
    container: str
    before: Mapping[RemoteKey, StoredEntry]
    after: Mapping[RemoteKey, StoredEntry]


class OwnershipModel:
    """The history of all places, and what follows from it."""

    def __init__(self, *, has_marks: bool, keeps_ledger: bool) -> None:
        self.has_marks, self.keeps_ledger = has_marks, keeps_ledger
        self.made: dict[tuple[EntryAddress, Mark], bytes | None] = {}
        self.documents: dict[bytes, StoredDocument] = {}
        self.ever: dict[tuple[str, EntryAddress], set[str]] = {}
        self.is_certain = True
        self.last_writer: dict[EntryAddress, str] = {}

    def begin(self, actor: OwnerMachine, container: str, document: bytes | None) -> None:
        """A pass begins: what the store's ledger says counts, where it can be trusted."""
        found = self.documents.get(document or b"")
        if found is None or not self._is_trusted(actor, container, found):
            return
        memory = actor.memory
        memory.rows = {spot: row for spot, row in memory.rows.items() if spot.container != container} | dict(found.rows)
        memory.revisions[container] = found.revision

    def fates(self, actor: OwnerMachine, spot: EntryAddress, held: StoredEntry | None) -> set[ExpectedFate]:
        """What a pass of this machine may do with an entry: one thing, unless it is not certain what the machine knows."""
        rows = {actor.memory.rows.get(spot)}
        if not self.is_certain:
            ever = self.ever.get((actor.owner, spot), set())
            rows |= {None} | {KnownEntry(value, in_sight) for value in ever for in_sight in (True, False)}
        return {self._fate(actor, spot, held, known) for known in rows}

    def _fate(
        self, actor: OwnerMachine, spot: EntryAddress, held: StoredEntry | None, known: KnownEntry | None
    ) -> ExpectedFate:
        wanted = actor.files.get(spot.slot)
        if held is None:
            return ExpectedFate.ALONE if wanted is None else ExpectedFate.AS_DESIRED
        if held.mark is not None and held.mark.owner != actor.owner:
            return ExpectedFate.ALONE if wanted is None else ExpectedFate.REFUSED
        if self._is_proven(actor, spot, held, known):
            return ExpectedFate.DELETED if wanted is None else ExpectedFate.AS_DESIRED
        is_of_earlier_version = held.mark is not None and held.mark.seal is None
        if (is_of_earlier_version and not actor.keys) or (known is not None and known.in_sight):
            return ExpectedFate.REFUSED if wanted is None else ExpectedFate.AS_DESIRED
        if wanted is None:
            return ExpectedFate.ALONE
        is_equal = wanted == held.content.value.decode()
        may_adopt = actor.adopt == "always" or (actor.adopt == "if-equal" and is_equal)
        return ExpectedFate.AS_DESIRED if may_adopt else ExpectedFate.REFUSED

    def finish(
        self,
        actor: OwnerMachine,
        container: str,
        before: Mapping[RemoteKey, StoredEntry],
        after: Mapping[RemoteKey, StoredEntry],
        pending: set[RemoteKey],
    ) -> None:
        """A pass is over: note what was written and what the machine knows now. `pending` is what it planned or refused, and
        did not do."""
        done = ObservedPass(actor, container, before, after)
        self._note_writes(done)
        self._note_agreement(done, pending)
        self._note_absence(done)

    def _note_writes(self, done: ObservedPass) -> None:
        for slot in done.before.keys() | done.after.keys():
            spot, held = EntryAddress(done.container, slot), done.after.get(slot)
            if held == done.before.get(slot):
                continue
            self.last_writer[spot] = done.actor.name
            if held is not None and held.mark is not None:
                self.made[spot, held.mark] = done.actor.keys[0] if done.actor.keys else None

    def _note_agreement(self, done: ObservedPass, pending: set[RemoteKey]) -> None:
        actor = done.actor
        for slot, wanted in actor.files.items():
            spot, held = EntryAddress(done.container, slot), done.after.get(slot)
            if slot in pending or held is None:
                continue
            if held.content.value.decode() == wanted or self._proof(actor, spot, held.mark):
                actor.memory.rows[spot] = KnownEntry(wanted)
                self.ever.setdefault((actor.owner, spot), set()).add(wanted)

    def _note_absence(self, done: ObservedPass) -> None:
        rows = done.actor.memory.rows
        for spot in [spot for spot in rows if spot.container == done.container and spot.slot not in done.actor.files]:
            if spot.slot not in done.before and not self.has_marks:
                rows[spot] = replace(rows[spot], in_sight=False)
            elif spot.slot not in done.before or spot.slot not in done.after:
                del rows[spot]

    def may_be_drift(self, actor: OwnerMachine, spot: EntryAddress, held: StoredEntry | None) -> bool:
        """True when a machine may take an entry for changed by another: it is, or its mark proves nothing any more."""
        is_unproven = self.has_marks and held is not None and not self._proof(actor, spot, held.mark)
        return is_unproven or self.last_writer.get(spot) != actor.name

    def is_signed(self, actor: OwnerMachine, spot: EntryAddress, mark: Mark | None) -> bool:
        """True for a mark that the first owner key of the moment made for this spot, where the store has room for marks."""
        key = actor.keys[0] if actor.keys else None
        return not self.has_marks or (mark is not None and self.made.get((spot, mark), b"") == key)

    def doubt(self) -> None:
        """Machines that share a ledger forgot, or it did: what each knows from now on depends on how ledgers are merged. That
        is at least nothing, and at most what was ever theirs."""
        self.is_certain = self.is_certain and not self.keeps_ledger

    def left(self, actor: OwnerMachine, container: str, document: bytes) -> None:
        """A machine left its ledger in the store."""
        newest = max((found.revision for found in self.documents.values() if found.container == container), default=0)
        rows = {spot: row for spot, row in actor.memory.rows.items() if spot.container == container}
        self.documents[document] = StoredDocument(container, actor.keys[0] if actor.keys else None, newest + 1, rows)
        actor.memory.revisions[container] = newest + 1

    def _is_trusted(self, actor: OwnerMachine, container: str, found: StoredDocument) -> bool:
        is_signed = found.key in actor.keys if actor.keys else found.key is None
        is_new = found.revision >= actor.memory.revisions.get(container, 0)
        return is_signed and is_new and found.container == container

    def _is_proven(self, actor: OwnerMachine, spot: EntryAddress, held: StoredEntry, known: KnownEntry | None) -> bool:
        """True for what the owner wrote at this very spot: by its mark, or by what the machine knows of the content."""
        is_as_known = known is not None and known.value == held.content.value.decode()
        if not self.has_marks or self._is_weak(actor, spot, held.mark):
            return is_as_known
        return self._proof(actor, spot, held.mark)

    def _proof(self, actor: OwnerMachine, spot: EntryAddress, mark: Mark | None) -> bool:
        if mark is None or mark.owner != actor.owner or (spot, mark) not in self.made:
            return False
        key = self.made[spot, mark]
        return key in actor.keys if actor.keys else key is None

    def _is_weak(self, actor: OwnerMachine, spot: EntryAddress, mark: Mark | None) -> bool:
        if mark is None or mark.owner != actor.owner:
            return False
        return mark.seal is None or bool(actor.keys and self.made.get((spot, mark), b"") is None)
