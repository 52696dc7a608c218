"""Conformance: marks are kept where the capabilities say, and survive other changes."""

from __future__ import annotations

from kvsync.model.capabilities import Marks
from kvsync.model.entry import Content, Identity, Mark
from kvsync.testing.conformance.harness import OWNER, StoreHarness
from kvsync.testing.conformance.suite import Suite, SuiteStep, having, method, promise

in_store = having("marks", Marks.STORE)


class MarksOfOwners(Suite):
    """Marks: the owner of an entry, and what was applied."""

    step = SuiteStep.MARKS

    @promise(in_store)
    async def test_marks_are_returned_unchanged(self, harness: StoreHarness) -> None:
        """Owner, fingerprint, TTL and both flags are read and listed as written."""
        for number, (ttl, sensitive, protected) in enumerate(
            [(None, False, False), (3600, False, True), (86400, True, False), (None, True, True)]
        ):
            write = harness.creation(f"key-{number}", ttl=ttl, sensitive=sensitive, protected=protected)
            await harness.must(write)
            assert write.mark is not None
            assert write.mark.owner == OWNER
            assert (await harness.get(write.identity)).mark == write.mark
            assert (await harness.listed(write.identity)).mark == write.mark

    @promise(in_store)
    async def test_change_replaces_mark(self, harness: StoreHarness) -> None:
        """A change replaces the mark together with the content, or removes it if the write has none."""
        before = await harness.create("greeting", protected=True)
        await harness.must(harness.change(before, Content(b"theirs"), owner="somebody-else"))
        after = await harness.get("greeting")
        assert after.mark is not None
        assert (after.mark.owner, after.mark.protected) == ("somebody-else", False)
        bare = harness.change(after, Content(b"nobody's"))
        await harness.must(type(bare)(bare.identity, bare.precondition, bare.content, None, bare.expires_at, bare.etag))
        assert (await harness.get("greeting")).mark is None

    @promise(in_store)
    async def test_mark_of_other_content_is_not_settled(self, harness: StoreHarness) -> None:
        """A mark whose fingerprint is not that of the content is kept unchanged, and the entry is not settled."""
        write = harness.creation("greeting")
        mark = Mark(OWNER, b"0123456789abcdef")
        await harness.must(type(write)(write.identity, write.precondition, write.content, mark, write.expires_at))
        read = await harness.get("greeting")
        assert read.mark == mark
        assert read.fingerprint != mark.fingerprint
        if harness.capabilities.values_in_listing:
            assert Identity("greeting") not in (await harness.see()).settled

    @promise(in_store, method("foreign_delete"), method("foreign_write"))
    async def test_recreated_entry_has_no_mark(self, harness: StoreHarness) -> None:
        """An entry that another program deleted and created again has no mark."""
        await harness.create("greeting")
        await self.foreign_delete(harness.namespace, Identity("greeting"))
        await self.foreign_write(harness.namespace, Identity("greeting"), Content(b"theirs"))
        await harness.settle()
        assert (await harness.get("greeting")).mark is None

    @promise(having("marks", Marks.LEDGER))
    async def test_store_without_marks_returns_none(self, harness: StoreHarness) -> None:
        """A store without room for marks returns none, and the content of the entry is unchanged."""
        read = await harness.create("greeting", Content(b"Hello"))
        assert read.mark is None
        assert read.content == Content(b"Hello")
        assert not (await harness.see()).settled
