"""Conformance: a listing is complete, and reports cheaply that nothing changed."""

from __future__ import annotations

from kvsync.model.canonical import fingerprint
from kvsync.model.capabilities import Lifetimes, Marks
from kvsync.model.entry import Content, Identity
from kvsync.stores.extensions import version_hints
from kvsync.testing.conformance.bench import TEXT, Bench
from kvsync.testing.conformance.suite import Suite, SuiteStep, at_most, having, method, promise

CHANGED = Content(b"changed by hand")


class Listings(Suite):
    """`observe`: complete, paged, settled, foreign, and its token."""

    step = SuiteStep.LIST

    @promise(step=SuiteStep.OBSERVE)
    async def test_new_namespace_is_empty(self, bench: Bench) -> None:
        """A namespace without any writes is empty, and its listing is complete."""
        snapshot = await bench.see()
        assert not snapshot.entries
        assert snapshot.complete
        assert snapshot.target.namespace == bench.namespace

    @promise(step=SuiteStep.WRITE)
    async def test_listing_agrees_with_read(self, bench: Bench) -> None:
        """A listed entry has the mark and size of the entry as it is read, and the part of its etag that `redacted_etag`
        returns."""
        read = await bench.create("greeting", Content(b"Hello"))
        listed = await bench.listed(Identity("greeting"))
        assert (listed.identity, listed.mark) == (read.identity, read.mark)
        assert (listed.etag is None) is (read.etag is None)
        if read.etag is not None and listed.etag is not None:
            assert version_hints(bench.store).redacted_etag(read.etag) == listed.etag
            assert version_hints(bench.store).may_be_version(listed.etag, read.etag)
        assert listed.size in (None, read.size)
        assert listed.fingerprint in (None, read.fingerprint)

    @promise(having("values_in_listing"))
    async def test_listing_has_values(self, bench: Bench) -> None:
        """If the listing has values, they are complete, and the fingerprints are those of the values."""
        await bench.create("greeting", Content(b"Hello"))
        listed = await bench.listed(Identity("greeting"))
        assert listed.content == Content(b"Hello")
        assert listed.fingerprint == fingerprint(Content(b"Hello"))

    @promise(step=SuiteStep.WRITE)
    async def test_read_entry_has_its_fingerprint(self, bench: Bench) -> None:
        """An entry is read with the fingerprint of its content."""
        read = await bench.create("greeting", Content(b"Hello"))
        assert read.content is not None
        assert read.fingerprint == fingerprint(read.content)

    @promise(at_most("page", 2000))
    async def test_listing_has_all_pages(self, bench: Bench) -> None:
        """All entries are listed once, with exactly one full page and with more than one page."""
        page = bench.capabilities.page
        await bench.must(*(bench.creation(f"key-{number:05}") for number in range(page)))
        assert len((await bench.see()).entries) == page
        await bench.must(*(bench.creation(f"key-{number:05}") for number in range(page, page + 3)))
        assert set((await bench.see()).entries) == {Identity(f"key-{number:05}") for number in range(page + 3)}

    @promise(having("marks", Marks.STORE), having("always_expires", False), step=SuiteStep.MARKS)
    async def test_written_entries_are_settled(self, bench: Bench) -> None:
        """Entries are settled right after they were written, so that a second pass has nothing to do."""
        wanted = {Identity(f"key-{number}"): Content(b"%d" % number) for number in range(5)}
        await bench.must(*(bench.creation(identity, content) for identity, content in wanted.items()))
        settled = (await bench.see()).settled
        assert settled == {identity: fingerprint(content) for identity, content in wanted.items()}

    @promise(step=SuiteStep.MARKS)
    async def test_entries_of_another_owner_are_not_settled(self, bench: Bench) -> None:
        """Entries of another owner are listed, but are never settled."""
        await bench.create("theirs", owner="somebody-else")
        snapshot = await bench.see()
        assert set(snapshot.entries) == {Identity("theirs")}
        assert not snapshot.settled

    @promise(step=SuiteStep.WRITE)
    async def test_read_leaves_out_missing_entries(self, bench: Bench) -> None:
        """`read` returns the entries that exist and leaves out the others, without an error."""
        await bench.create("here")
        wanted = [Identity("here"), Identity("missing")][: max(bench.capabilities.read_batch, 1)]
        assert set(await bench.store.read(bench.namespace, wanted)) == {Identity("here")}

    @promise(method("foreign_write"))
    async def test_foreign_entries_are_listed(self, bench: Bench) -> None:
        """An entry of another program is listed without a mark, and is not settled."""
        await self.foreign_write(bench.namespace, Identity("foreign"), TEXT)
        await bench.settle()
        snapshot = await bench.see()
        assert (await bench.listed(Identity("foreign"))).mark is None
        assert not snapshot.settled

    @promise(method("foreign_write"))
    async def test_foreign_entries_are_not_changed(self, bench: Bench) -> None:
        """Writes of other entries leave a foreign entry unchanged, including its etag."""
        await self.foreign_write(bench.namespace, Identity("foreign"), Content("été\n".encode()))
        await bench.settle()
        before = await bench.get("foreign")
        ours = await bench.create("ours")
        await bench.must(bench.change(ours, CHANGED))
        await bench.must(bench.deletion(await bench.get("ours")))
        assert await bench.get("foreign") == before

    @promise(method("foreign_write"), having("values_in_listing"))
    async def test_listing_shows_foreign_change(self, bench: Bench) -> None:
        """An entry that another program changed is no longer settled, and is listed with its new fingerprint."""
        await bench.create("greeting")
        await self.foreign_write(bench.namespace, Identity("greeting"), CHANGED)
        await bench.settle()
        snapshot = await bench.see()
        assert (await bench.listed(Identity("greeting"))).fingerprint == fingerprint(CHANGED)
        assert Identity("greeting") not in snapshot.settled

    @promise(method("foreign_write"))
    async def test_read_shows_foreign_change(self, bench: Bench) -> None:
        """An entry that another program changed is read with its new content, and a new etag if the store has etags."""
        before = await bench.create("greeting")
        await self.foreign_write(bench.namespace, Identity("greeting"), CHANGED)
        await bench.settle()
        after = await bench.get("greeting")
        assert after.content == bench.store.normalise(CHANGED)
        assert after.etag != before.etag or not bench.capabilities.compare_and_set

    @promise(step=SuiteStep.TOKENS)
    async def test_token_is_valid_while_nothing_changes(self, bench: Bench) -> None:
        """If the store has tokens, `observe` returns None for the token of an unchanged namespace."""
        await bench.create("greeting")
        token = (await bench.see()).token
        if token is None:
            return
        await bench.create("greeting", namespace=bench.elsewhere)
        assert await bench.store.observe(bench.namespace, bench.signer(), token) is None
        assert await bench.connect().observe(bench.namespace, bench.signer(), token) is None

    @promise(step=SuiteStep.TOKENS)
    async def test_token_is_invalid_after_write(self, bench: Bench) -> None:
        """After a create, a change or a delete, the earlier token is invalid, on all connections."""
        other, token = bench.connect(), (await bench.see()).token
        present = await bench.create("greeting")
        assert await other.observe(bench.namespace, bench.signer(), token) is not None
        token = (await bench.see()).token
        await bench.must(bench.change(present, CHANGED))
        assert await other.observe(bench.namespace, bench.signer(), token) is not None
        token, present = (await bench.see()).token, await bench.get("greeting")
        await bench.must(bench.deletion(present))
        assert await other.observe(bench.namespace, bench.signer(), token) is not None

    @promise(method("foreign_write"), method("foreign_delete"), step=SuiteStep.TOKENS)
    async def test_token_is_invalid_after_foreign_change(self, bench: Bench) -> None:
        """After another program created, changed or deleted an entry, the earlier token is invalid."""
        greeting = Identity("greeting")
        token = (await bench.see()).token
        for content in (TEXT, CHANGED):
            await self.foreign_write(bench.namespace, greeting, content)
            await bench.settle()
            snapshot = await bench.store.observe(bench.namespace, bench.signer(), token)
            assert snapshot is not None
            token = snapshot.token
        await self.foreign_delete(bench.namespace, greeting)
        await bench.settle()
        assert await bench.store.observe(bench.namespace, bench.signer(), token) is not None

    @promise(having("lifetimes", Lifetimes.NATIVE), step=SuiteStep.TOKENS)
    async def test_token_is_invalid_after_expiry(self, bench: Bench) -> None:
        """A token is invalid once an entry has expired."""
        seconds = max(bench.capabilities.min_ttl, 60, int(10 * bench.capabilities.settle))
        await bench.create("promo", expires_at=bench.clock.now() + seconds)
        token = (await bench.see()).token
        await bench.pass_time(seconds + 1)
        assert await bench.store.observe(bench.namespace, bench.signer(), token) is not None
