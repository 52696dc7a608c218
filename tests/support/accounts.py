"""Accounts with namespaces that have ids of their own, so that names can point to other places, and what strangers do there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from kvsync.model.canonical import fingerprint
from kvsync.model.entry import Content, Identity, Mark
from kvsync.model.place import KeyScope, Place
from kvsync.planning.marks import MarkSigner
from kvsync.stores.memory.backend import RemoteKey, StoredEntry, StoredLedger
from kvsync.stores.memory.store import MemoryStore
from kvsync.testing import MemoryServer
from kvsync.util.clock import Clock

NAMES = ("web", "spare")
"""The namespaces of each account."""


class Account(MemoryServer):
    """A server that knows its namespaces by id. The id and the entries go with a namespace that is renamed."""

    def __init__(self, clock: Clock, name: str) -> None:
        super().__init__(clock)
        self.id = name
        self.ids = {namespace: f"{name}-{number}" for number, namespace in enumerate(NAMES)}

    def swap_names(self) -> None:
        """Rename both namespaces, each to the name of the other."""
        _swap(self.ids)
        _swap(self.held)
        _swap(self.ledgers)


def _swap(table: dict[str, Any]) -> None:
    web, spare = NAMES
    swapped = {spare: table.pop(web, None), web: table.pop(spare, None)}
    table.update({name: found for name, found in swapped.items() if found is not None})


def locate_by_id(patch: pytest.MonkeyPatch) -> None:
    """Let memory stores take the id of a namespace, not its name, for what it is."""

    def place(store: MemoryStore, namespace: str) -> Place:
        return place_of(store._memory, namespace, store.config.type)  # type: ignore[arg-type]

    patch.setattr(MemoryStore, "place", place)


def place_of(account: Account, namespace: str, kind: str) -> Place:
    """The place of a target at an account."""
    return Place(kind, (("memory", account.id), ("namespace", account.ids[namespace])), KeyScope())


@dataclass(frozen=True)
class Address:
    """Where an entry is, by the names of the moment."""

    account: Account
    namespace: str
    slot: RemoteKey


class Strangers:
    """Other writers at some accounts: they copy, edit, restore and forge. `revisions` are what they may restore."""

    def __init__(self, accounts: Mapping[str, Account], kind: str, *, has_labels: bool, has_marks: bool) -> None:
        self.accounts, self._kind = tuple(accounts.values()), kind
        self._has_labels, self._has_marks = has_labels, has_marks
        self._revisions: dict[tuple[str, RemoteKey], list[StoredEntry]] = {}
        self._documents: dict[str, list[StoredLedger]] = {}

    def addresses(self) -> list[Address]:
        """All entries there are."""
        return [
            Address(account, namespace, slot)
            for account in self.accounts
            for namespace in NAMES
            for slot in sorted(account.held.get(namespace, {}), key=str)
        ]

    def note(self) -> None:
        """Keep what there is at the moment, to restore it later."""
        for at in self.addresses():
            held, kept = at.account.held[at.namespace][at.slot], self._kept(at)
            if held not in kept:
                kept.append(held)
        for account, namespace in self._namespaces():
            if (document := account.ledgers.get(namespace)) is not None:
                self._documents.setdefault(account.ids[namespace], []).append(document)

    def write(self, at: Address, value: str) -> None:
        """Write an entry without a mark."""
        self._put(at, value, None)

    def delete(self, at: Address) -> None:
        """Delete an entry."""
        at.account.delete(at.namespace, at.slot.key, label=at.slot.label)

    def edit(self, at: Address, value: str) -> None:
        """Change a value and leave the mark where it is."""
        held = at.account.held[at.namespace][at.slot]
        self._put(at, value, held.mark)

    def drop_mark(self, at: Address) -> None:
        """Take away the mark of an entry."""
        held = at.account.held[at.namespace][at.slot]
        self._put(at, held.content.value.decode(), None)

    def copy(self, source: Address, to: Address) -> None:
        """Copy an entry, mark and all."""
        held = source.account.held[source.namespace][source.slot]
        self._put(to, held.content.value.decode(), held.mark)

    def copy_namespace(self, source: Address, to: Address) -> None:
        """Copy all entries of a namespace, marks and ledger included."""
        for slot in list(source.account.held[source.namespace]):
            self.copy(replace(source, slot=slot), replace(to, slot=slot))
        if (document := source.account.ledgers.get(source.namespace)) is not None:
            to.account.ledgers[to.namespace] = document

    def restore(self, at: Address, number: int) -> None:
        """Bring back an older revision of an entry, mark and all."""
        kept = self._kept(at)
        if kept:
            held = kept[number % len(kept)]
            self._put(at, held.content.value.decode(), held.mark)

    def lose_ledger(self, at: Address) -> None:
        """Delete the ledger of a namespace."""
        at.account.ledgers.pop(at.namespace, None)

    def restore_ledger(self, at: Address, number: int) -> None:
        """Bring back an older ledger of a namespace."""
        kept = self._documents.get(at.account.ids[at.namespace], [])
        if kept:
            at.account.ledgers[at.namespace] = kept[number % len(kept)]

    def forge(self, at: Address, value: str, owner: str, key: bytes | None, *, is_sealed: bool) -> Mark | None:
        """Write an entry with a mark of `owner`, signed with a key (None: a plain digest) or without a seal. Returns the mark,
        None where the store has no room for one."""
        if not self._has_marks:
            self._put(at, value, None)
            return None
        signer = MarkSigner(owner, place_of(at.account, at.namespace, self._kind), (key,) if key else ())
        mark = Mark(owner, fingerprint(Content(value.encode())))
        if is_sealed:
            mark = signer.signed(Identity(*at.slot), mark)
        self._put(at, value, mark)
        return mark

    def _put(self, at: Address, value: str, mark: Mark | None) -> None:
        label = at.slot.label if self._has_labels else None
        at.account.write(at.namespace, at.slot.key, value.encode(), label=label, mark=mark)

    def _kept(self, at: Address) -> list[StoredEntry]:
        return self._revisions.setdefault((at.account.ids[at.namespace], at.slot), [])

    def _namespaces(self) -> Iterator[tuple[Account, str]]:
        return ((account, namespace) for account in self.accounts for namespace in NAMES)
