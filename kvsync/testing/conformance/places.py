"""Conformance: a place identifies the remote itself, and marks are valid only at their place and key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from kvsync.errors import StoreError
from kvsync.model.capabilities import Marks
from kvsync.model.entry import Content, Identity, Target
from kvsync.model.place import Place, conflicts
from kvsync.planning.marks import MarkSigner, Proof
from kvsync.stores.base import Store, Write
from kvsync.stores.extensions import NestedNamespaces, locate
from kvsync.testing.conformance.harness import OWNER, TEXT, StoreHarness
from kvsync.testing.conformance.suite import Suite, SuiteStep, having, method, promise

in_store = having("marks", Marks.STORE)

GREETING, COPY = Identity("greeting"), Identity("copy")

_LOOKUP_SECONDS = 61
"""Seconds after which a store must have looked up a name again."""


class PlacesOfTargets(Suite):
    """`place` and `locate`."""

    step = SuiteStep.PLACES

    @promise()
    async def test_place_sends_no_request(self, harness: StoreHarness) -> None:
        """`place` is known from the configuration, without a request, and stays the same."""
        store = harness.connect()
        before = store.place(harness.namespace)
        assert store.place(harness.namespace) == before
        assert store.traffic.requests == 0
        await harness.create(GREETING)
        assert store.place(harness.namespace).key == before.key

    @promise()
    async def test_same_configuration_is_same_place(self, harness: StoreHarness) -> None:
        """Two connections with the same configuration have the same places, whatever the name of the store is."""
        await locate(harness.store, harness.namespace, writing=True)
        found = await _places(harness.store, harness.namespace)
        other = harness.connect()
        assert await _places(other, harness.namespace) == found
        renamed = harness.connect()
        renamed.config = replace(renamed.config, name="another-name")
        assert await _places(renamed, harness.namespace) == found

    @promise()
    async def test_namespaces_are_different_places(self, harness: StoreHarness) -> None:
        """Two namespaces have different places, and no key can belong to both, unless the store has `nested_namespace`."""
        names = (harness.namespace, harness.elsewhere)
        offline = [harness.store.place(name) for name in names]
        located = [await locate(harness.store, name, writing=True) for name in names]
        for places in (offline, located):
            assert places[0].key != places[1].key
            targets = {Target("store", name): place for name, place in zip(names, places, strict=True)}
            assert not conflicts(targets, lambda _: isinstance(harness.store, NestedNamespaces))

    @promise()
    async def test_locate_for_writing_creates_namespace(self, harness: StoreHarness) -> None:
        """`locate` for writing creates the namespace if it may, and returns the place that it has from then on."""
        before = await locate(harness.store, harness.namespace)
        made = await locate(harness.store, harness.namespace, writing=True)
        assert made.is_resolved, "a place that is written to must be resolved"
        assert made.key == before.key or not before.is_resolved
        assert not (await harness.see()).entries
        await harness.create(GREETING)
        for store in (harness.store, harness.connect()):
            after = await locate(store, harness.namespace)
            assert (after.key, after.is_resolved) == (made.key, True)

    @promise(method("other_place"))
    async def test_other_remote_is_different_place(self, harness: StoreHarness) -> None:
        """The same configuration at another account, file or server is another place, and shows no entries of the first."""
        other = harness.keep(self.other_place(harness.clock))
        here = await locate(harness.store, harness.namespace, writing=True)
        there = await locate(other, harness.namespace, writing=True)
        assert there.is_resolved
        assert there.key != here.key
        await harness.create(GREETING, Content(b"here"))
        assert await other.read(harness.namespace, [GREETING]) == {}
        await other.write(harness.namespace, [harness.creation(COPY, Content(b"there"))])
        await harness.settle()
        assert await harness.find(COPY) is None
        assert set((await harness.see()).entries) == {GREETING}
        snapshot = await other.observe(harness.namespace, MarkSigner(OWNER, there))
        assert snapshot is not None
        assert set(snapshot.entries) == {COPY}

    @promise(method("rename_namespace"))
    async def test_renamed_namespace_is_not_written(self, harness: StoreHarness) -> None:
        """Right after a namespace was renamed, its old name leads to another place or nowhere, and writes to it do not
        arrive in the renamed one."""
        new = f"{harness.namespace}-renamed"
        before = await locate(harness.store, harness.namespace, writing=True)
        await harness.create(GREETING, Content(b"old"))
        await self.rename_namespace(harness.namespace, new)
        await _write_by_name(harness, before)
        await harness.settle()
        other = harness.connect()
        assert (await locate(other, new)).key == before.key
        found = await other.read(new, [GREETING])
        assert found[GREETING].content == Content(b"old")
        assert await other.read(new, [COPY]) == {}

    @promise(method("rename_namespace"))
    async def test_rename_is_noticed_within_a_minute(self, harness: StoreHarness) -> None:
        """Even without writes, names are looked up again within a minute; then the old name leads elsewhere."""
        before = await locate(harness.store, harness.namespace, writing=True)
        await self.rename_namespace(harness.namespace, f"{harness.namespace}-renamed")
        await harness.pass_time(_LOOKUP_SECONDS)
        assert _is_elsewhere(await _located(harness.store, harness.namespace, writing=False), before)


class Seals(Suite):
    """Seals: each binds a mark to its place, key and label."""

    step = SuiteStep.MARKS

    @promise(in_store)
    async def test_seals_are_returned_unchanged(self, harness: StoreHarness) -> None:
        """A mark is read and listed with the seal with which it was written, or without one if it had none."""
        sealed = harness.creation("sealed")
        bare = _with_mark(harness.creation("bare"), seal=None)
        await harness.must(sealed, bare)
        for write in (sealed, bare):
            for found in (await harness.get(write.identity), await harness.listed(write.identity)):
                assert found.mark == write.mark
        await harness.must(_with_mark(harness.change(await harness.get("sealed"), TEXT), seal=None))
        assert (await harness.get("sealed")).mark == bare.mark

    @promise(in_store)
    async def test_copied_mark_is_not_settled(self, harness: StoreHarness) -> None:
        """An entry with the mark of another key or namespace is listed with that mark, and is not settled."""
        original = harness.creation(GREETING)
        await harness.must(original)
        await harness.must(replace(harness.creation(COPY), mark=original.mark))
        await harness.must(replace(harness.creation(GREETING), mark=original.mark), namespace=harness.elsewhere)
        for identity, snapshot in ((COPY, await harness.see()), (GREETING, await harness.see(harness.elsewhere))):
            entry = snapshot.entries.get(identity)
            assert entry is not None, f"{identity} is not listed"
            assert entry.mark == original.mark
            assert identity not in snapshot.settled

    @promise(in_store)
    async def test_removed_mark_is_gone(self, harness: StoreHarness) -> None:
        """An entry that is written again without a mark has none, and is not settled, even with the same content."""
        before = await harness.create(GREETING)
        await harness.must(replace(harness.change(before, TEXT), mark=None))
        assert (await harness.get(GREETING)).mark is None
        assert (await harness.listed(GREETING)).mark is None
        assert GREETING not in (await harness.see()).settled

    @promise(in_store)
    async def test_changed_mark_does_not_verify(self, harness: StoreHarness) -> None:
        """A mark that was changed after it was sealed is returned as changed, proves nothing, and the entry is not settled."""
        for number, write in enumerate(_changed_marks(harness)):
            await harness.must(write)
            mark = (await harness.listed(write.identity)).mark
            assert mark == write.mark == (await harness.get(write.identity)).mark
            assert mark is not None
            signer = harness.signer(owner=mark.owner)
            assert signer.proof(write.identity, mark) is Proof.NONE, number
            snapshot = await harness.store.observe(harness.namespace, signer)
            assert snapshot is not None
            assert write.identity not in snapshot.settled, number

    @promise(in_store, step=SuiteStep.TOKENS)
    async def test_token_is_invalid_after_seal_change(self, harness: StoreHarness) -> None:
        """After an entry was written again with only another seal, the earlier token is invalid."""
        before = await harness.create(GREETING)
        token = (await harness.see()).token
        await harness.must(_with_mark(harness.change(before, TEXT), seal=b"another seal 016"))
        assert await harness.store.observe(harness.namespace, harness.signer(), token) is not None


async def _places(store: Store, namespace: str) -> tuple[str, str]:
    """The keys of a place by the configuration, and by the remote."""
    return store.place(namespace).key, (await locate(store, namespace)).key


async def _located(store: Store, namespace: str, *, writing: bool) -> Place | None:
    """Where a namespace is, None if that is an error."""
    try:
        return await locate(store, namespace, writing=writing)
    except StoreError:
        return None


def _is_elsewhere(place: Place | None, before: Place) -> bool:
    return place is None or not place.is_resolved or place.key != before.key


async def _write_by_name(harness: StoreHarness, before: Place) -> None:
    """Locate the namespace for writing and write to it; errors of the store are ignored."""
    place = await _located(harness.store, harness.namespace, writing=True)
    assert _is_elsewhere(place, before), "the name still leads to the namespace that was renamed"
    for write in (harness.creation(COPY), harness.creation(GREETING, Content(b"new"))):
        try:
            await harness.store.write(harness.namespace, [write])
        except StoreError:
            continue


def _with_mark(write: Write, seal: bytes | None) -> Write:
    assert write.mark is not None
    return replace(write, mark=replace(write.mark, seal=seal))


def _changed_marks(harness: StoreHarness) -> Iterator[Write]:
    """Writes whose marks were each changed in one field after they were sealed."""
    changes: tuple[dict[str, Any], ...] = (
        {"owner": "somebody-else"},
        {"fingerprint": b"0123456789abcdef"},
        {"ttl": 86_400},
        {"sensitive": True},
        {"protected": True},
        {"seal": b"not the true one"},
    )
    for number, change in enumerate(changes):
        write = harness.creation(f"key-{number}")
        assert write.mark is not None
        yield replace(write, mark=replace(write.mark, **change))
