"""Conformance: with compare-and-set, a write never overwrites a concurrent change."""

from __future__ import annotations

from kvsync.model.entry import Content, Identity
from kvsync.stores.base import WriteStatus
from kvsync.testing.conformance.bench import TEXT, Bench
from kvsync.testing.conformance.suite import Suite, SuiteStep, bulk, having, method, promise

versions = having("compare_and_set")
MINE, THEIRS = Content(b"mine"), Content(b"theirs")


class Conflicts(Suite):
    """Preconditions, kept by the store itself."""

    step = SuiteStep.PRECONDITIONS

    @promise(versions)
    async def test_create_does_not_overwrite(self, bench: Bench) -> None:
        """Creating an entry that is there is a conflict, and leaves it as it is."""
        before = await bench.create("greeting", THEIRS)
        assert (await bench.send([bench.creation("greeting", MINE)]))[0].status is WriteStatus.CONFLICT
        assert await bench.get("greeting") == before

    @promise(versions)
    async def test_change_needs_the_version_seen(self, bench: Bench) -> None:
        """Changing an entry that moved since it was seen is a conflict, and leaves it as it is."""
        seen = await bench.create("greeting")
        await bench.must(bench.change(seen, THEIRS))
        results = await bench.send([bench.change(seen, MINE)])
        assert results[0].status is WriteStatus.CONFLICT
        assert results[0].error
        assert await bench.value("greeting") == b"theirs"

    @promise(versions)
    async def test_delete_needs_the_version_seen(self, bench: Bench) -> None:
        """Deleting an entry that moved since it was seen is a conflict, and leaves it there."""
        seen = await bench.create("greeting")
        await bench.must(bench.change(seen, THEIRS))
        assert (await bench.send([bench.deletion(seen)]))[0].status is WriteStatus.CONFLICT
        assert await bench.value("greeting") == b"theirs"

    @promise(versions)
    async def test_change_does_not_create(self, bench: Bench) -> None:
        """Changing an entry that was deleted since it was seen is a conflict, and does not bring it back."""
        seen = await bench.create("greeting")
        await bench.must(bench.deletion(seen))
        assert (await bench.send([bench.change(seen, MINE)]))[0].status is WriteStatus.CONFLICT
        assert await bench.find("greeting") is None

    @promise(versions)
    async def test_every_write_has_a_version_of_its_own(self, bench: Bench) -> None:
        """No etag of an entry ever comes back, also not after a delete and with the same content."""
        etags = []
        for _ in range(3):
            present = await bench.create("greeting", TEXT)
            etags.append(present.etag)
            etags.append((await bench.must(bench.change(present, MINE)))[0].etag)
            await bench.must(bench.deletion(await bench.get("greeting")))
        assert None not in etags
        assert len(set(etags)) == 6

    @promise(versions)
    async def test_a_write_tells_the_version_it_made(self, bench: Bench) -> None:
        """The etag in the result is the one under which the entry is then read and listed, and may be written again."""
        result = (await bench.must(bench.creation("greeting")))[0]
        present = await bench.get("greeting")
        assert result.etag == present.etag == (await bench.listed(Identity("greeting"))).etag
        await bench.must(bench.change(present, MINE))

    @promise(versions, bulk)
    async def test_a_conflict_is_one_entrys_own(self, bench: Bench) -> None:
        """In one call, entries in conflict stay as they are, and all others are written."""
        seen = [await bench.create(f"old-{number}") for number in range(3)]
        await bench.must(bench.change(seen[1], THEIRS))
        writes = [*(bench.change(entry, MINE) for entry in seen), bench.creation("new", MINE)]
        results = await bench.send(writes)
        assert [result.status for result in results] == ["done", "conflict", "done", "done"]
        values = [await bench.value(key) for key in ("old-0", "old-1", "old-2", "new")]
        assert values == [b"mine", b"theirs", b"mine", b"mine"]

    @promise(versions)
    async def test_one_of_two_writers_wins(self, bench: Bench) -> None:
        """When two connections change, or create, the same entry at once, one is done and the other in conflict."""
        other = bench.connect()
        seen = await bench.create("greeting")
        for one, two in (
            (bench.change(seen, MINE), bench.change(seen, THEIRS)),
            (bench.creation("new", MINE), bench.creation("new", THEIRS)),
        ):
            at_once = bench.store.write(bench.namespace, [one]), other.write(bench.namespace, [two])
            assert sorted(await bench.gather_or_cancel(*at_once)) == [WriteStatus.CONFLICT, WriteStatus.DONE]

    @promise(versions, method("foreign_write"))
    async def test_a_foreign_change_is_not_undone(self, bench: Bench) -> None:
        """What another program wrote since we looked is neither overwritten nor deleted."""
        seen = await bench.create("greeting")
        await self.foreign_write(bench.namespace, Identity("greeting"), THEIRS)
        for write in (bench.change(seen, MINE), bench.deletion(seen)):
            assert (await bench.send([write]))[0].status is WriteStatus.CONFLICT
        assert await bench.value("greeting") == b"theirs"

    @promise(versions, method("foreign_write"), method("foreign_delete"))
    async def test_an_entry_made_anew_is_another_one(self, bench: Bench) -> None:
        """What another program deleted and made again since we looked is neither overwritten nor deleted."""
        seen, greeting = await bench.create("greeting"), Identity("greeting")
        await self.foreign_delete(bench.namespace, greeting)
        await self.foreign_write(bench.namespace, greeting, TEXT)
        for write in (bench.change(seen, MINE), bench.deletion(seen)):
            assert (await bench.send([write]))[0].status is WriteStatus.CONFLICT
        assert await bench.value("greeting") == TEXT.value
