"""Conformance: marks are kept where the capabilities say, and survive other changes."""

from __future__ import annotations

from kvsync.model.capabilities import Marks
from kvsync.model.entry import Content, Identity, Mark
from kvsync.testing.conformance.bench import OWNER, Bench
from kvsync.testing.conformance.suite import Suite, SuiteStep, having, method, promise

in_store = having("marks", Marks.STORE)


class MarksOfOwners(Suite):
    """Marks: the owner of an entry, and what was applied."""

    step = SuiteStep.MARKS

    @promise(in_store)
    async def test_marks_are_returned_unchanged(self, bench: Bench) -> None:
        """Owner, fingerprint, TTL and both flags are read and listed as written."""
        for number, (ttl, sensitive, protected) in enumerate(
            [(None, False, False), (3600, False, True), (86400, True, False), (None, True, True)]
        ):
            write = bench.creation(f"key-{number}", ttl=ttl, sensitive=sensitive, protected=protected)
            await bench.must(write)
            assert write.mark is not None
            assert write.mark.owner == OWNER
            assert (await bench.get(write.identity)).mark == write.mark
            assert (await bench.listed(write.identity)).mark == write.mark

    @promise(in_store)
    async def test_change_replaces_mark(self, bench: Bench) -> None:
        """A change replaces the mark together with the content, or removes it if the write has none."""
        before = await bench.create("greeting", protected=True)
        await bench.must(bench.change(before, Content(b"theirs"), owner="somebody-else"))
        after = await bench.get("greeting")
        assert after.mark is not None
        assert (after.mark.owner, after.mark.protected) == ("somebody-else", False)
        bare = bench.change(after, Content(b"nobody's"))
        await bench.must(type(bare)(bare.identity, bare.precondition, bare.content, None, bare.expires_at, bare.etag))
        assert (await bench.get("greeting")).mark is None

    @promise(in_store)
    async def test_mark_of_other_content_is_not_settled(self, bench: Bench) -> None:
        """A mark whose fingerprint is not that of the content is kept unchanged, and the entry is not settled."""
        write = bench.creation("greeting")
        mark = Mark(OWNER, b"0123456789abcdef")
        await bench.must(type(write)(write.identity, write.precondition, write.content, mark, write.expires_at))
        read = await bench.get("greeting")
        assert read.mark == mark
        assert read.fingerprint != mark.fingerprint
        if bench.capabilities.values_in_listing:
            assert Identity("greeting") not in (await bench.see()).settled

    @promise(in_store, method("foreign_delete"), method("foreign_write"))
    async def test_recreated_entry_has_no_mark(self, bench: Bench) -> None:
        """An entry that another program deleted and created again has no mark."""
        await bench.create("greeting")
        await self.foreign_delete(bench.namespace, Identity("greeting"))
        await self.foreign_write(bench.namespace, Identity("greeting"), Content(b"theirs"))
        await bench.settle()
        assert (await bench.get("greeting")).mark is None

    @promise(having("marks", Marks.LEDGER))
    async def test_store_without_marks_returns_none(self, bench: Bench) -> None:
        """A store without room for marks returns none, and the content of the entry is unchanged."""
        read = await bench.create("greeting", Content(b"Hello"))
        assert read.mark is None
        assert read.content == Content(b"Hello")
        assert not (await bench.see()).settled
