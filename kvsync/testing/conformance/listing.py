"""Conformance: a listing is complete, and reports cheaply that nothing changed."""

from __future__ import annotations

from kvsync.model.canonical import fingerprint
from kvsync.model.capabilities import Lifetimes, Marks
from kvsync.model.entry import Content, Identity
from kvsync.stores.extensions import TokenChecking, has_extension, locate, unchanged, version_hints
from kvsync.testing.conformance.harness import TEXT, StoreHarness
from kvsync.testing.conformance.suite import Suite, SuiteStep, at_most, having, method, promise

CHANGED = Content(b"changed by hand")


class Listings(Suite):
    """`observe`: complete, paged, settled, foreign, and its token."""

    step = SuiteStep.LIST

    @promise(step=SuiteStep.OBSERVE)
    async def test_new_namespace_is_empty(self, harness: StoreHarness) -> None:
        """A namespace without any writes is empty, and its listing is complete."""
        snapshot = await harness.see()
        assert not snapshot.entries
        assert snapshot.complete
        assert snapshot.target.namespace == harness.namespace

    @promise(step=SuiteStep.WRITE)
    async def test_listing_agrees_with_read(self, harness: StoreHarness) -> None:
        """A listed entry has the mark and size of the entry as it is read, and the part of its etag that `redacted_etag`
        returns."""
        read = await harness.create("greeting", Content(b"Hello"))
        listed = await harness.listed(Identity("greeting"))
        assert (listed.identity, listed.mark) == (read.identity, read.mark)
        assert (listed.etag is None) is (read.etag is None)
        if read.etag is not None and listed.etag is not None:
            assert version_hints(harness.store).redacted_etag(read.etag) == listed.etag
            assert version_hints(harness.store).may_be_version(listed.etag, read.etag)
        assert listed.size in (None, read.size)
        assert listed.fingerprint in (None, read.fingerprint)

    @promise(having("values_in_listing"))
    async def test_listing_has_values(self, harness: StoreHarness) -> None:
        """If the listing has values, they are complete, and the fingerprints are those of the values."""
        await harness.create("greeting", Content(b"Hello"))
        listed = await harness.listed(Identity("greeting"))
        assert listed.content == Content(b"Hello")
        assert listed.fingerprint == fingerprint(Content(b"Hello"))

    @promise(step=SuiteStep.WRITE)
    async def test_read_entry_has_its_fingerprint(self, harness: StoreHarness) -> None:
        """An entry is read with the fingerprint of its content."""
        read = await harness.create("greeting", Content(b"Hello"))
        assert read.content is not None
        assert read.fingerprint == fingerprint(read.content)

    @promise(at_most("page", 2000))
    async def test_listing_has_all_pages(self, harness: StoreHarness) -> None:
        """All entries are listed once, with exactly one full page and with more than one page."""
        page = harness.capabilities.page
        await harness.must(*(harness.creation(f"key-{number:05}") for number in range(page)))
        assert len((await harness.see()).entries) == page
        await harness.must(*(harness.creation(f"key-{number:05}") for number in range(page, page + 3)))
        assert set((await harness.see()).entries) == {Identity(f"key-{number:05}") for number in range(page + 3)}

    @promise(having("marks", Marks.STORE), having("always_expires", False), step=SuiteStep.MARKS)
    async def test_written_entries_are_settled(self, harness: StoreHarness) -> None:
        """Entries are settled right after they were written, so that a second pass has nothing to do."""
        wanted = {Identity(f"key-{number}"): Content(b"%d" % number) for number in range(5)}
        await harness.must(*(harness.creation(identity, content) for identity, content in wanted.items()))
        settled = (await harness.see()).settled
        assert settled == {identity: fingerprint(content) for identity, content in wanted.items()}

    @promise(step=SuiteStep.MARKS)
    async def test_entries_of_another_owner_are_not_settled(self, harness: StoreHarness) -> None:
        """Entries of another owner are listed, but are never settled."""
        await harness.create("theirs", owner="somebody-else")
        snapshot = await harness.see()
        assert set(snapshot.entries) == {Identity("theirs")}
        assert not snapshot.settled

    @promise(step=SuiteStep.WRITE)
    async def test_read_leaves_out_missing_entries(self, harness: StoreHarness) -> None:
        """`read` returns the entries that exist and leaves out the others, without an error."""
        await harness.create("here")
        wanted = [Identity("here"), Identity("missing")][: max(harness.capabilities.read_batch, 1)]
        assert set(await harness.store.read(harness.namespace, wanted)) == {Identity("here")}

    @promise(method("foreign_write"))
    async def test_foreign_entries_are_listed(self, harness: StoreHarness) -> None:
        """An entry of another program is listed without a mark, and is not settled."""
        await self.foreign_write(harness.namespace, Identity("foreign"), TEXT)
        await harness.settle()
        snapshot = await harness.see()
        assert (await harness.listed(Identity("foreign"))).mark is None
        assert not snapshot.settled

    @promise(method("foreign_write"))
    async def test_foreign_entries_are_not_changed(self, harness: StoreHarness) -> None:
        """Writes of other entries leave a foreign entry unchanged, including its etag."""
        await self.foreign_write(harness.namespace, Identity("foreign"), Content("été\n".encode()))
        await harness.settle()
        before = await harness.get("foreign")
        ours = await harness.create("ours")
        await harness.must(harness.change(ours, CHANGED))
        await harness.must(harness.deletion(await harness.get("ours")))
        assert await harness.get("foreign") == before

    @promise(method("foreign_write"), having("values_in_listing"))
    async def test_listing_shows_foreign_change(self, harness: StoreHarness) -> None:
        """An entry that another program changed is no longer settled, and is listed with its new fingerprint."""
        await harness.create("greeting")
        await self.foreign_write(harness.namespace, Identity("greeting"), CHANGED)
        await harness.settle()
        snapshot = await harness.see()
        assert (await harness.listed(Identity("greeting"))).fingerprint == fingerprint(CHANGED)
        assert Identity("greeting") not in snapshot.settled

    @promise(method("foreign_write"))
    async def test_read_shows_foreign_change(self, harness: StoreHarness) -> None:
        """An entry that another program changed is read with its new content, and a new etag if the store has etags."""
        before = await harness.create("greeting")
        await self.foreign_write(harness.namespace, Identity("greeting"), CHANGED)
        await harness.settle()
        after = await harness.get("greeting")
        assert after.content == harness.store.normalise(CHANGED)
        assert after.etag != before.etag or not harness.capabilities.compare_and_set

    @promise(step=SuiteStep.TOKENS)
    async def test_token_is_valid_while_nothing_changes(self, harness: StoreHarness) -> None:
        """If the store has tokens, `observe` returns None for the token of an unchanged namespace."""
        await harness.create("greeting")
        token = (await harness.see()).token
        if token is None:
            return
        await harness.create("greeting", namespace=harness.elsewhere)
        assert await harness.store.observe(harness.namespace, harness.signer(), token) is None
        assert await harness.connect().observe(harness.namespace, harness.signer(), token) is None

    @promise(step=SuiteStep.TOKENS)
    async def test_many_tokens_are_checked_as_one(self, harness: StoreHarness) -> None:
        """If the store checks tokens of many namespaces in one call, the result agrees with `observe` and `locate`."""
        await harness.create("greeting")
        await harness.create("greeting", namespace=harness.elsewhere)
        token, other = (await harness.see()).token, (await harness.see(namespace=harness.elsewhere)).token
        if token is None or other is None or not has_extension(harness.store, TokenChecking):
            return
        tokens = {harness.namespace: token, harness.elsewhere: other}
        place = await locate(harness.store, harness.namespace)
        assert set(await unchanged(harness.store, tokens)) == set(tokens)
        await harness.create("another", namespace=harness.elsewhere)
        assert await unchanged(harness.connect(), tokens) == {harness.namespace: place}
        assert await unchanged(harness.store, {harness.namespace: "not a token"}) == {}

    @promise(step=SuiteStep.TOKENS)
    async def test_token_is_invalid_after_write(self, harness: StoreHarness) -> None:
        """After a create, a change or a delete, the earlier token is invalid, on all connections."""
        other, token = harness.connect(), (await harness.see()).token
        present = await harness.create("greeting")
        assert await other.observe(harness.namespace, harness.signer(), token) is not None
        token = (await harness.see()).token
        await harness.must(harness.change(present, CHANGED))
        assert await other.observe(harness.namespace, harness.signer(), token) is not None
        token, present = (await harness.see()).token, await harness.get("greeting")
        await harness.must(harness.deletion(present))
        assert await other.observe(harness.namespace, harness.signer(), token) is not None

    @promise(method("foreign_write"), method("foreign_delete"), step=SuiteStep.TOKENS)
    async def test_token_is_invalid_after_foreign_change(self, harness: StoreHarness) -> None:
        """After another program created, changed or deleted an entry, the earlier token is invalid."""
        greeting = Identity("greeting")
        token = (await harness.see()).token
        for content in (TEXT, CHANGED):
            await self.foreign_write(harness.namespace, greeting, content)
            await harness.settle()
            snapshot = await harness.store.observe(harness.namespace, harness.signer(), token)
            assert snapshot is not None
            token = snapshot.token
        await self.foreign_delete(harness.namespace, greeting)
        await harness.settle()
        assert await harness.store.observe(harness.namespace, harness.signer(), token) is not None

    @promise(having("lifetimes", Lifetimes.NATIVE), step=SuiteStep.TOKENS)
    async def test_token_is_invalid_after_expiry(self, harness: StoreHarness) -> None:
        """A token is invalid once an entry has expired."""
        seconds = max(harness.capabilities.min_ttl, 60, int(10 * harness.capabilities.settle))
        await harness.create("promo", expires_at=harness.clock.now() + seconds)
        token = (await harness.see()).token
        await harness.pass_time(seconds + 1)
        assert await harness.store.observe(harness.namespace, harness.signer(), token) is not None
