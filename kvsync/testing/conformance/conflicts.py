"""Conformance: with compare-and-set, a write never overwrites a concurrent change."""

from __future__ import annotations

from kvsync.model.entry import Content, Identity
from kvsync.stores.base import WriteStatus
from kvsync.testing.conformance.bench import TEXT, Bench
from kvsync.testing.conformance.suite import Suite, SuiteStep, bulk, having, method, promise

versions = having("compare_and_set")
MINE, THEIRS = Content(b"mine"), Content(b"theirs")


class Conflicts(Suite):
    """Preconditions, checked by the store itself."""

    step = SuiteStep.PRECONDITIONS

    @promise(versions)
    async def test_create_does_not_overwrite(self, bench: Bench) -> None:
        """Creating an entry that exists is a conflict, and does not change it."""
        before = await bench.create("greeting", THEIRS)
        assert (await bench.send([bench.creation("greeting", MINE)]))[0].status is WriteStatus.CONFLICT
        assert await bench.get("greeting") == before

    @promise(versions)
    async def test_change_of_newer_version_conflicts(self, bench: Bench) -> None:
        """Changing an entry that was changed since it was read is a conflict, and does not change it."""
        seen = await bench.create("greeting")
        await bench.must(bench.change(seen, THEIRS))
        results = await bench.send([bench.change(seen, MINE)])
        assert results[0].status is WriteStatus.CONFLICT
        assert results[0].error
        assert await bench.value("greeting") == b"theirs"

    @promise(versions)
    async def test_delete_of_newer_version_conflicts(self, bench: Bench) -> None:
        """Deleting an entry that was changed since it was read is a conflict, and does not delete it."""
        seen = await bench.create("greeting")
        await bench.must(bench.change(seen, THEIRS))
        assert (await bench.send([bench.deletion(seen)]))[0].status is WriteStatus.CONFLICT
        assert await bench.value("greeting") == b"theirs"

    @promise(versions)
    async def test_change_does_not_recreate_deleted_entry(self, bench: Bench) -> None:
        """Changing an entry that was deleted since it was read is a conflict, and does not create it."""
        seen = await bench.create("greeting")
        await bench.must(bench.deletion(seen))
        assert (await bench.send([bench.change(seen, MINE)]))[0].status is WriteStatus.CONFLICT
        assert await bench.find("greeting") is None

    @promise(versions)
    async def test_etags_never_repeat(self, bench: Bench) -> None:
        """An entry never has the same etag twice, not even after a delete and with the same content."""
        etags = []
        for _ in range(3):
            present = await bench.create("greeting", TEXT)
            etags.append(present.etag)
            etags.append((await bench.must(bench.change(present, MINE)))[0].etag)
            await bench.must(bench.deletion(await bench.get("greeting")))
        assert None not in etags
        assert len(set(etags)) == 6

    @promise(versions)
    async def test_write_returns_new_etag(self, bench: Bench) -> None:
        """The etag in the result is the one with which the entry is then read, listed and written again."""
        result = (await bench.must(bench.creation("greeting")))[0]
        present = await bench.get("greeting")
        assert result.etag == present.etag == (await bench.listed(Identity("greeting"))).etag
        await bench.must(bench.change(present, MINE))

    @promise(versions, bulk)
    async def test_conflict_affects_one_entry_only(self, bench: Bench) -> None:
        """In one call, entries in conflict are not changed, and all others are written."""
        seen = [await bench.create(f"old-{number}") for number in range(3)]
        await bench.must(bench.change(seen[1], THEIRS))
        writes = [*(bench.change(entry, MINE) for entry in seen), bench.creation("new", MINE)]
        results = await bench.send(writes)
        assert [result.status for result in results] == ["done", "conflict", "done", "done"]
        values = [await bench.value(key) for key in ("old-0", "old-1", "old-2", "new")]
        assert values == [b"mine", b"theirs", b"mine", b"mine"]

    @promise(versions)
    async def test_one_of_two_concurrent_writes_wins(self, bench: Bench) -> None:
        """If two connections change or create the same entry concurrently, one succeeds and the other has a conflict."""
        other = bench.connect()
        seen = await bench.create("greeting")
        for one, two in (
            (bench.change(seen, MINE), bench.change(seen, THEIRS)),
            (bench.creation("new", MINE), bench.creation("new", THEIRS)),
        ):
            at_once = bench.store.write(bench.namespace, [one]), other.write(bench.namespace, [two])
            assert sorted(await bench.gather_or_cancel(*at_once)) == [WriteStatus.CONFLICT, WriteStatus.DONE]

    @promise(versions, method("foreign_write"))
    async def test_foreign_change_is_not_overwritten(self, bench: Bench) -> None:
        """An entry that another program changed since it was read is neither overwritten nor deleted."""
        seen = await bench.create("greeting")
        await self.foreign_write(bench.namespace, Identity("greeting"), THEIRS)
        for write in (bench.change(seen, MINE), bench.deletion(seen)):
            assert (await bench.send([write]))[0].status is WriteStatus.CONFLICT
        assert await bench.value("greeting") == b"theirs"

    @promise(versions, method("foreign_write"), method("foreign_delete"))
    async def test_recreated_entry_is_not_overwritten(self, bench: Bench) -> None:
        """An entry that another program deleted and created again since it was read is neither overwritten nor deleted."""
        seen, greeting = await bench.create("greeting"), Identity("greeting")
        await self.foreign_delete(bench.namespace, greeting)
        await self.foreign_write(bench.namespace, greeting, TEXT)
        for write in (bench.change(seen, MINE), bench.deletion(seen)):
            assert (await bench.send([write]))[0].status is WriteStatus.CONFLICT
        assert await bench.value("greeting") == TEXT.value
