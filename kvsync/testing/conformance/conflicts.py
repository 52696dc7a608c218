"""Conformance: with compare-and-set, a write never overwrites a concurrent change."""

from __future__ import annotations

from kvsync.model.entry import Content, Identity
from kvsync.stores.base import WriteStatus
from kvsync.testing.conformance.harness import TEXT, StoreHarness
from kvsync.testing.conformance.suite import Suite, SuiteStep, bulk, having, method, promise

versions = having("compare_and_set")
MINE, THEIRS = Content(b"mine"), Content(b"theirs")


class Conflicts(Suite):
    """Preconditions, checked by the store itself."""

    step = SuiteStep.PRECONDITIONS

    @promise(versions)
    async def test_create_does_not_overwrite(self, harness: StoreHarness) -> None:
        """Creating an entry that exists is a conflict, and does not change it."""
        before = await harness.create("greeting", THEIRS)
        assert (await harness.send([harness.creation("greeting", MINE)]))[0].status is WriteStatus.CONFLICT
        assert await harness.get("greeting") == before

    @promise(versions)
    async def test_change_of_newer_version_conflicts(self, harness: StoreHarness) -> None:
        """Changing an entry that was changed since it was read is a conflict, and does not change it."""
        seen = await harness.create("greeting")
        await harness.must(harness.change(seen, THEIRS))
        results = await harness.send([harness.change(seen, MINE)])
        assert results[0].status is WriteStatus.CONFLICT
        assert results[0].error
        assert await harness.value("greeting") == b"theirs"

    @promise(versions)
    async def test_delete_of_newer_version_conflicts(self, harness: StoreHarness) -> None:
        """Deleting an entry that was changed since it was read is a conflict, and does not delete it."""
        seen = await harness.create("greeting")
        await harness.must(harness.change(seen, THEIRS))
        assert (await harness.send([harness.deletion(seen)]))[0].status is WriteStatus.CONFLICT
        assert await harness.value("greeting") == b"theirs"

    @promise(versions)
    async def test_change_does_not_recreate_deleted_entry(self, harness: StoreHarness) -> None:
        """Changing an entry that was deleted since it was read is a conflict, and does not create it."""
        seen = await harness.create("greeting")
        await harness.must(harness.deletion(seen))
        assert (await harness.send([harness.change(seen, MINE)]))[0].status is WriteStatus.CONFLICT
        assert await harness.find("greeting") is None

    @promise(versions)
    async def test_etags_never_repeat(self, harness: StoreHarness) -> None:
        """An entry never has the same etag twice, not even after a delete and with the same content."""
        etags = []
        for _ in range(3):
            present = await harness.create("greeting", TEXT)
            etags.append(present.etag)
            etags.append((await harness.must(harness.change(present, MINE)))[0].etag)
            await harness.must(harness.deletion(await harness.get("greeting")))
        assert None not in etags
        assert len(set(etags)) == 6

    @promise(versions)
    async def test_write_returns_new_etag(self, harness: StoreHarness) -> None:
        """The etag in the result is the one with which the entry is then read, listed and written again."""
        result = (await harness.must(harness.creation("greeting")))[0]
        present = await harness.get("greeting")
        assert result.etag == present.etag == (await harness.listed(Identity("greeting"))).etag
        await harness.must(harness.change(present, MINE))

    @promise(versions, bulk)
    async def test_conflict_affects_one_entry_only(self, harness: StoreHarness) -> None:
        """In one call, entries in conflict are not changed, and all others are written."""
        seen = [await harness.create(f"old-{number}") for number in range(3)]
        await harness.must(harness.change(seen[1], THEIRS))
        writes = [*(harness.change(entry, MINE) for entry in seen), harness.creation("new", MINE)]
        results = await harness.send(writes)
        assert [result.status for result in results] == ["done", "conflict", "done", "done"]
        values = [await harness.value(key) for key in ("old-0", "old-1", "old-2", "new")]
        assert values == [b"mine", b"theirs", b"mine", b"mine"]

    @promise(versions)
    async def test_one_of_two_concurrent_writes_wins(self, harness: StoreHarness) -> None:
        """If two connections change or create the same entry concurrently, one succeeds and the other has a conflict."""
        other = harness.connect()
        seen = await harness.create("greeting")
        for one, two in (
            (harness.change(seen, MINE), harness.change(seen, THEIRS)),
            (harness.creation("new", MINE), harness.creation("new", THEIRS)),
        ):
            at_once = harness.store.write(harness.namespace, [one]), other.write(harness.namespace, [two])
            assert sorted(await harness.gather_or_cancel(*at_once)) == [WriteStatus.CONFLICT, WriteStatus.DONE]

    @promise(versions, method("foreign_write"))
    async def test_foreign_change_is_not_overwritten(self, harness: StoreHarness) -> None:
        """An entry that another program changed since it was read is neither overwritten nor deleted."""
        seen = await harness.create("greeting")
        await self.foreign_write(harness.namespace, Identity("greeting"), THEIRS)
        for write in (harness.change(seen, MINE), harness.deletion(seen)):
            assert (await harness.send([write]))[0].status is WriteStatus.CONFLICT
        assert await harness.value("greeting") == b"theirs"

    @promise(versions, method("foreign_write"), method("foreign_delete"))
    async def test_recreated_entry_is_not_overwritten(self, harness: StoreHarness) -> None:
        """An entry that another program deleted and created again since it was read is neither overwritten nor deleted."""
        seen, greeting = await harness.create("greeting"), Identity("greeting")
        await self.foreign_delete(harness.namespace, greeting)
        await self.foreign_write(harness.namespace, greeting, TEXT)
        for write in (harness.change(seen, MINE), harness.deletion(seen)):
            assert (await harness.send([write]))[0].status is WriteStatus.CONFLICT
        assert await harness.value("greeting") == TEXT.value
