"""The conformance suite on places and seals: each broken store fails it where it is broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import pytest

from kvsync.model.capabilities import Capabilities
from kvsync.model.entry import Actual, Identity, Mark, Target
from kvsync.model.place import KeyScope, Place
from kvsync.model.snapshot import Snapshot, snapshot_of
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Store, Write, WriteResult
from kvsync.stores.extensions import locate
from kvsync.stores.memory.store import MemoryStore
from kvsync.testing import FakeClock, MemoryServer, StoreConformance, memory_store
from tests.testing.faulty import Faulty, failures, suite_over


class CountsPlaces(Faulty):
    def place(self, namespace: str) -> Place:
        self.count = getattr(self, "count", 0) + 1
        return _with_part(self._inner.place(namespace), "count", self.count)


class AsksForPlaces(Faulty):
    def place(self, namespace: str) -> Place:
        self.traffic.requests += 1
        return self._inner.place(namespace)


class PlacesByName(Faulty):
    def place(self, namespace: str) -> Place:
        return _with_part(self._inner.place(namespace), "name", self.config.name)


class LocatesByName(Faulty):
    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        return _with_part(await locate(self._inner, namespace), "name", self.config.name)


class OnePlace(Faulty):
    def place(self, namespace: str) -> Place:
        return self._inner.place("one")


class LocatesOnePlace(Faulty):
    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        return await locate(self._inner, "one")


class OverlappingPlaces(Faulty):
    """Two namespaces of one container, whose keys could be the same."""

    def place(self, namespace: str) -> Place:
        return replace(self._inner.place("one"), scope=KeyScope(prefix="", suffix="", template=f"{namespace}{{key}}"))


class NeverThere(Faulty):
    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        return replace(await locate(self._inner, namespace), is_resolved=False)


class MovesWhenWritten(Faulty):
    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        return _with_part(await locate(self._inner, namespace), "writing", writing)


class SamePlaceEverywhere(Faulty):
    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        return Place("memory", (("namespace", namespace),))


class DropsSeals(Faulty):
    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        return await self._inner.write(
            namespace, [replace(write, mark=_with_seal(write.mark, None)) for write in writes]
        )


class InventsSeals(Faulty):
    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        sealed = [
            replace(write, mark=_with_seal(write.mark, b"a seal of sorts."))
            if write.mark is not None and write.mark.seal is None
            else write
            for write in writes
        ]
        return await self._inner.write(namespace, sealed)


class TrustsOwners(Faulty):
    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        snapshot = await self._inner.observe(namespace, signer, token)
        assert snapshot is not None
        settled = {
            identity: entry.fingerprint
            for identity, entry in snapshot.entries.items()
            if entry.mark is not None and entry.mark.owner == signer.owner and entry.fingerprint is not None
        }
        return replace(snapshot, settled=settled)


class HidesCopies(Faulty):
    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        snapshot = await self._inner.observe(namespace, signer, token)
        assert snapshot is not None
        claimed = [entry for entry in snapshot.entries.values() if entry.mark is None or signer.claims(entry)]
        return snapshot_of(snapshot.target, claimed, signer)


class TrustsFlags(Faulty):
    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        snapshot = await self._inner.observe(namespace, signer, token)
        assert snapshot is not None
        settled = {
            identity: entry.fingerprint
            for identity, entry in snapshot.entries.items()
            if entry.mark is not None
            and entry.fingerprint is not None
            and signer.seals(identity, entry.fingerprint, entry.mark.seal or b"")
        }
        return replace(snapshot, settled=settled)


class KeepsMarks(Faulty):
    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        present = await self._inner.read(namespace, [write.identity for write in writes])
        kept = [
            replace(write, mark=write.mark or present[write.identity].mark) if write.identity in present else write
            for write in writes
        ]
        return await self._inner.write(namespace, kept)


class TokensOfContents(Faulty):
    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        snapshot = await self._inner.observe(namespace, signer)
        assert snapshot is not None
        held = sorted((str(identity), entry.fingerprint) for identity, entry in snapshot.entries.items())
        return None if token == repr(held) else replace(snapshot, token=repr(held))


def _with_part(place: Place, name: str, value: object) -> Place:
    return replace(place, parts=(*place.parts, (name, str(value))))


def _with_seal(mark: Mark | None, seal: bytes | None) -> Mark | None:
    return None if mark is None else replace(mark, seal=seal)


class Identified(Faulty):
    """Keeps namespaces by ids that the remote gives them, and looks names up each time."""

    ids: dict[str, str]

    def place(self, namespace: str) -> Place:
        return replace(self._inner.place(namespace), is_resolved=False)

    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        if writing:
            self.ids.setdefault(namespace, f"id-{len(self.ids)}-{namespace}")
        self.known()[namespace] = self.ids.get(namespace, "")
        return replace(self._inner.place(self.known()[namespace]), is_resolved=namespace in self.ids)

    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        snapshot = await self._inner.observe(self.id_of(namespace), signer, token)
        return None if snapshot is None else replace(snapshot, target=Target(self.config.name, namespace))

    async def read(self, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        return await self._inner.read(self.id_of(namespace), identities)

    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        return await self._inner.write(self.id_of(namespace), writes)

    async def namespaces(self) -> Sequence[str]:
        held = set(await self._inner.namespaces())
        return sorted(name for name, id_ in self.ids.items() if id_ in held)

    def known(self) -> dict[str, str]:
        """Ids by the names under which they were located."""
        found: dict[str, str] = self.__dict__.setdefault("_known", {})
        return found

    def id_of(self, namespace: str) -> str:
        return self.known().get(namespace) or self.ids.setdefault(namespace, f"id-{len(self.ids)}-{namespace}")


class WritesToOldIds(Identified):
    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        id_ = self.__dict__.setdefault("_first", {}).setdefault(namespace, self.id_of(namespace))
        return await self._inner.write(id_, writes)


class LooksUpNamesToWrite(Identified):
    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        place = await super().locate(namespace, writing=writing)
        first = self.__dict__.setdefault("_places", {}).setdefault(namespace, place)
        return place if writing or not first.is_resolved else first


class LooksUpNamesOnce(Identified):
    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        places: dict[str, Place] = self.__dict__.setdefault("_places", {})
        if namespace not in places or not places[namespace].is_resolved:
            places[namespace] = await super().locate(namespace, writing=writing)
        return places[namespace]


def identified_suite_over(wrap: type[Identified]) -> type[StoreConformance]:
    """The suite over a memory that knows namespaces by ids, behind such a wrapper."""

    class Suite(StoreConformance):
        capabilities: ClassVar[Capabilities] = replace(MemoryStore.capabilities, page=20)

        def open_store(self, clock: FakeClock) -> Store:
            self.server = getattr(self, "server", MemoryServer(clock))
            self.ids: dict[str, str] = getattr(self, "ids", {})
            return self._over(self.server, clock, self.ids)

        def other_place(self, clock: FakeClock) -> Store:
            return self._over(MemoryServer(clock), clock, {})

        async def rename_namespace(self, old: str, new: str) -> None:
            self.ids[new] = self.ids.pop(old)

        def _over(self, server: MemoryServer, clock: FakeClock, ids: dict[str, str]) -> Store:
            store = wrap(memory_store(server, clock=clock, page=20))
            store.ids = ids
            return store

    return Suite


def mixed_suite() -> type[StoreConformance]:
    """The suite over a memory that two accounts share without knowing."""

    class Mixed(suite_over(Faulty)):  # type: ignore[misc]
        def other_place(self, clock: FakeClock) -> Store:
            return PlacesByAccount(memory_store(self.server, clock=clock, page=20))

    return Mixed


class PlacesByAccount(Faulty):
    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        return _with_part(await locate(self._inner, namespace), "account", "other")


@pytest.mark.parametrize(
    ("wrap", "caught_by"),
    [
        (CountsPlaces, "test_place_sends_no_request"),
        (AsksForPlaces, "test_place_sends_no_request"),
        (PlacesByName, "test_same_configuration_is_same_place"),
        (LocatesByName, "test_same_configuration_is_same_place"),
        (OnePlace, "test_namespaces_are_different_places"),
        (LocatesOnePlace, "test_namespaces_are_different_places"),
        (OverlappingPlaces, "test_namespaces_are_different_places"),
        (NeverThere, "test_locate_for_writing_creates_namespace"),
        (MovesWhenWritten, "test_locate_for_writing_creates_namespace"),
        (SamePlaceEverywhere, "test_other_remote_is_different_place"),
        (DropsSeals, "test_seals_are_returned_unchanged"),
        (InventsSeals, "test_seals_are_returned_unchanged"),
        (TrustsOwners, "test_copied_mark_is_not_settled"),
        (HidesCopies, "test_copied_mark_is_not_settled"),
        (TrustsFlags, "test_changed_mark_does_not_verify"),
        (KeepsMarks, "test_removed_mark_is_gone"),
        (TokensOfContents, "test_token_is_invalid_after_seal_change"),
    ],
)
def test_a_broken_store_fails(wrap: type[Faulty], caught_by: str) -> None:
    """A store that breaks a promise fails the test of that promise."""
    assert failures(suite_over(wrap), caught_by) == {caught_by}


def test_a_good_store_with_ids_passes() -> None:
    """A store that knows namespaces by ids, and looks their names up, fails nothing."""
    assert failures(identified_suite_over(Identified)) == set()


@pytest.mark.parametrize(
    ("wrap", "caught_by"),
    [
        (WritesToOldIds, "test_renamed_namespace_is_not_written"),
        (LooksUpNamesOnce, "test_renamed_namespace_is_not_written"),
        (LooksUpNamesToWrite, "test_rename_is_noticed_within_a_minute"),
    ],
)
def test_a_broken_store_with_ids_fails(wrap: type[Identified], caught_by: str) -> None:
    """A store that believes a name for too long fails the test of that promise."""
    assert failures(identified_suite_over(wrap), caught_by) == {caught_by}


def test_accounts_that_share_their_entries_fail() -> None:
    """Two places that show each other's entries fail the test of that promise."""
    promise = "test_other_remote_is_different_place"
    assert failures(mixed_suite(), promise) == {promise}
