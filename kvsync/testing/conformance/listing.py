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
    async def test_nothing_is_there_at_first(self, bench: Bench) -> None:
        """A namespace that nothing was written to is empty, and its listing complete."""
        snapshot = await bench.see()
        assert not snapshot.entries
        assert snapshot.complete
        assert snapshot.target.namespace == bench.namespace

    @promise(step=SuiteStep.WRITE)
    async def test_a_listing_agrees_with_a_reading(self, bench: Bench) -> None:
        """An entry is listed with the mark and the size with which it is read, and with as much of the etag as `redacted_etag`
        makes of it."""
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
    async def test_a_listing_carries_values(self, bench: Bench) -> None:
        """Where values are in the listing, they are whole, and the fingerprint is theirs."""
        await bench.create("greeting", Content(b"Hello"))
        listed = await bench.listed(Identity("greeting"))
        assert listed.content == Content(b"Hello")
        assert listed.fingerprint == fingerprint(Content(b"Hello"))

    @promise(step=SuiteStep.WRITE)
    async def test_reading_knows_the_fingerprint(self, bench: Bench) -> None:
        """What is read bears the fingerprint of what is read."""
        read = await bench.create("greeting", Content(b"Hello"))
        assert read.content is not None
        assert read.fingerprint == fingerprint(read.content)

    @promise(at_most("page", 2000))
    async def test_a_listing_has_all_pages(self, bench: Bench) -> None:
        """More entries than one page holds are all listed, each once; so are as many as fill a page."""
        page = bench.capabilities.page
        await bench.must(*(bench.creation(f"key-{number:05}") for number in range(page)))
        assert len((await bench.see()).entries) == page
        await bench.must(*(bench.creation(f"key-{number:05}") for number in range(page, page + 3)))
        assert set((await bench.see()).entries) == {Identity(f"key-{number:05}") for number in range(page + 3)}

    @promise(having("marks", Marks.STORE), having("always_expires", False), step=SuiteStep.MARKS)
    async def test_what_we_wrote_is_settled(self, bench: Bench) -> None:
        """Right after a write the cheap view knows it by its fingerprint: a second pass has nothing to do."""
        wanted = {Identity(f"key-{number}"): Content(b"%d" % number) for number in range(5)}
        await bench.must(*(bench.creation(identity, content) for identity, content in wanted.items()))
        settled = (await bench.see()).settled
        assert settled == {identity: fingerprint(content) for identity, content in wanted.items()}

    @promise(step=SuiteStep.MARKS)
    async def test_what_another_owner_wrote_is_not_settled(self, bench: Bench) -> None:
        """Entries of another owner are listed, but never taken for settled ones of ours."""
        await bench.create("theirs", owner="somebody-else")
        snapshot = await bench.see()
        assert set(snapshot.entries) == {Identity("theirs")}
        assert not snapshot.settled

    @promise(step=SuiteStep.WRITE)
    async def test_reading_leaves_out_what_is_not_there(self, bench: Bench) -> None:
        """Of the entries asked for, those that are there are read, and the others left out without an error."""
        await bench.create("here")
        wanted = [Identity("here"), Identity("missing")][: max(bench.capabilities.read_batch, 1)]
        assert set(await bench.store.read(bench.namespace, wanted)) == {Identity("here")}

    @promise(method("foreign_write"))
    async def test_foreign_entries_are_listed(self, bench: Bench) -> None:
        """What another program wrote is listed, without a mark, and is not settled."""
        await self.foreign_write(bench.namespace, Identity("foreign"), TEXT)
        await bench.settle()
        snapshot = await bench.see()
        assert (await bench.listed(Identity("foreign"))).mark is None
        assert not snapshot.settled

    @promise(method("foreign_write"))
    async def test_foreign_entries_are_left_alone(self, bench: Bench) -> None:
        """Whatever we do next to it, a foreign entry stays as it is, byte for byte and version for version."""
        await self.foreign_write(bench.namespace, Identity("foreign"), Content("été\n".encode()))
        await bench.settle()
        before = await bench.get("foreign")
        ours = await bench.create("ours")
        await bench.must(bench.change(ours, CHANGED))
        await bench.must(bench.deletion(await bench.get("ours")))
        assert await bench.get("foreign") == before

    @promise(method("foreign_write"), having("values_in_listing"))
    async def test_a_foreign_change_is_seen_in_a_listing(self, bench: Bench) -> None:
        """An entry of ours that another program changed is no longer settled, and lists with its new fingerprint."""
        await bench.create("greeting")
        await self.foreign_write(bench.namespace, Identity("greeting"), CHANGED)
        await bench.settle()
        snapshot = await bench.see()
        assert (await bench.listed(Identity("greeting"))).fingerprint == fingerprint(CHANGED)
        assert Identity("greeting") not in snapshot.settled

    @promise(method("foreign_write"))
    async def test_a_foreign_change_is_seen_by_reading(self, bench: Bench) -> None:
        """What another program wrote over an entry of ours is read, with another etag where there are any."""
        before = await bench.create("greeting")
        await self.foreign_write(bench.namespace, Identity("greeting"), CHANGED)
        await bench.settle()
        after = await bench.get("greeting")
        assert after.content == bench.store.normalise(CHANGED)
        assert after.etag != before.etag or not bench.capabilities.compare_and_set

    @promise(step=SuiteStep.TOKENS)
    async def test_a_token_stands_while_nothing_changes(self, bench: Bench) -> None:
        """With the token of a snapshot, an unchanged namespace answers that nothing changed; where there are tokens."""
        await bench.create("greeting")
        token = (await bench.see()).token
        if token is None:
            return
        await bench.create("greeting", namespace=bench.elsewhere)
        assert await bench.store.observe(bench.namespace, bench.signer(), token) is None
        assert await bench.connect().observe(bench.namespace, bench.signer(), token) is None

    @promise(step=SuiteStep.TOKENS)
    async def test_a_token_falls_with_every_change(self, bench: Bench) -> None:
        """A create, a change and a delete each make the earlier token void, for all connections."""
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
    async def test_a_token_falls_with_a_foreign_change(self, bench: Bench) -> None:
        """What another program creates, changes or deletes makes the earlier token void."""
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
    async def test_a_token_falls_when_an_entry_ends(self, bench: Bench) -> None:
        """A token does not outlive the first entry that ends."""
        seconds = max(bench.capabilities.min_ttl, 60, int(10 * bench.capabilities.settle))
        await bench.create("promo", expires_at=bench.clock.now() + seconds)
        token = (await bench.see()).token
        await bench.pass_time(seconds + 1)
        assert await bench.store.observe(bench.namespace, bench.signer(), token) is not None
