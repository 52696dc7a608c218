"""Conformance: reads return exactly what was written."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kvsync.errors import BatchRefused
from kvsync.model.capabilities import SizeUnit
from kvsync.model.entry import Content, Identity
from kvsync.stores.base import Write, WriteStatus
from kvsync.testing.conformance.bench import Bench
from kvsync.testing.conformance.suite import Suite, SuiteStep, at_most, bulk, having, labelled, promise

FULL = Content(b'{"rps":10}', "application/json", (("stage", "beta"), ("team", "web")), '{"region":"eu"}')

TEXTS = (
    "",
    " spaces around ",
    "two\nlines\r\n\ttabs\n",
    "ключ, clé, 鍵, 🎉",
    '{"b": 1, "a": [1.10, null]}',
    "no",
    "0755",
    "%2F %00 +&=#?;\"'\\`${}",
    "\ufeffmark",
    "e\u0301 and \u00e9",
)
BYTES = (b"\x00", bytes(range(256)), b"\xff\xfe\x00", b"\x1f\x8b\x08" + b"\x00" * 7)
KEYS = (
    *("a/b", "/lead", "a//b", "q?x=1&y=2", "100%", "%2F", "%252F", "#frag", "sp ace", "pl+us", "ключ/é", "emoji🎉"),
    *(
        "a:b!c'(d)*",
        "...",
        "x/../y",
        "semi;colon",
        "back\\slash",
        '"quote"',
        "A",
        "a",
        "under_score",
        "dash-dot.",
        "a.b",
    ),
)


class Writing(Suite):
    """Create, change and delete; values, keys and labels; calls of many writes."""

    step = SuiteStep.WRITE

    @promise()
    async def test_created_entry_is_read(self, bench: Bench) -> None:
        """An entry that was created is there, with its value."""
        assert await bench.find("greeting") is None
        await bench.create("greeting", Content(b"Hello"))
        assert await bench.value("greeting") == b"Hello"

    @promise()
    async def test_change_replaces_all_content(self, bench: Bench) -> None:
        """A change replaces value, content type, tags and metadata; nothing of the earlier content is left."""
        before = await bench.create("limits", FULL)
        assert before.content == bench.store.normalise(FULL)
        await bench.must(bench.change(before, Content(b"plain")))
        assert (await bench.get("limits")).content == Content(b"plain")

    @promise(having("descriptions"))
    async def test_description_is_kept_unless_written(self, bench: Bench) -> None:
        """A change without a description keeps the stored one; an empty description removes it."""
        before = await bench.create("greeting", Content(b"old", description="set by hand"))
        await bench.must(bench.change(before, Content(b"new")))
        after = await bench.get("greeting")
        assert after.content == Content(b"new", description="set by hand")
        await bench.must(bench.change(after, Content(b"new", description="")))
        assert (await bench.get("greeting")).content == Content(b"new")

    @promise()
    async def test_deleted_entry_is_gone(self, bench: Bench) -> None:
        """A deleted entry is neither read nor listed; its neighbours are."""
        first = await bench.create("first")
        await bench.create("second")
        await bench.must(bench.deletion(first))
        assert await bench.find("first") is None
        assert set((await bench.see()).entries) == {Identity("second")}

    @promise()
    async def test_deleted_key_can_be_created_again(self, bench: Bench) -> None:
        """After a delete, the same key can be created again, and has the new content."""
        await bench.must(bench.deletion(await bench.create("greeting", Content(b"old"))))
        await bench.create("greeting", Content(b"new"))
        assert await bench.value("greeting") == b"new"

    @promise()
    async def test_text_values_are_returned_unchanged(self, bench: Bench) -> None:
        """Text values are returned byte for byte: white space, line ends, any Unicode form, what looks like YAML or JSON."""
        await self._come_back(bench, [text.encode() for text in TEXTS])

    @promise(having("binary"))
    async def test_binary_values_are_returned_unchanged(self, bench: Bench) -> None:
        """Binary values are returned byte for byte."""
        await self._come_back(bench, list(BYTES))

    async def _come_back(self, bench: Bench, values: list[bytes]) -> None:
        wanted = {Identity(f"value-{number}"): Content(value) for number, value in enumerate(values)}
        wanted = {identity: content for identity, content in wanted.items() if bench.can_hold(identity, content)}
        await bench.must(*(bench.creation(identity, content) for identity, content in wanted.items()))
        found = await _read_all(bench, list(wanted))
        assert found == {identity: bench.store.normalise(content) for identity, content in wanted.items()}

    @promise()
    async def test_keys_are_returned_unchanged(self, bench: Bench) -> None:
        """Every key that the store accepts names a separate entry, and is listed unchanged."""
        wanted = {
            Identity(key): Content(f"value of {number}".encode())
            for number, key in enumerate(KEYS)
            if bench.can_hold(Identity(key)) and _fits(key, bench)
        }
        await bench.must(*(bench.creation(identity, content) for identity, content in wanted.items()))
        assert await _read_all(bench, list(wanted)) == wanted
        assert set((await bench.see()).entries) == set(wanted)

    @promise()
    async def test_keys_without_remote_key_are_refused(self, bench: Bench) -> None:
        """If the key alone is the remote key, an empty key, `.` and `..` raise ValueError before anything is sent."""
        for key in ("", ".", ".."):
            if bench.store.remote_key(bench.namespace, Identity("x")) == "x":
                assert not bench.can_hold(Identity(key)), f"{key!r} must be refused"

    @promise(at_most("max_value", 32 * 1024 * 1024))
    async def test_largest_value_is_accepted(self, bench: Bench) -> None:
        """A value of `max_value` bytes is accepted, and returned unchanged."""
        largest = b"x" * (bench.capabilities.max_value or 0)
        await bench.create("large", Content(largest))
        assert await bench.value("large") == largest

    @promise(at_most("max_value", 32 * 1024 * 1024))
    async def test_too_large_value_is_refused(self, bench: Bench) -> None:
        """A value one byte larger than `max_value` is refused, not truncated."""
        too_large = Content(b"x" * ((bench.capabilities.max_value or 0) + 1))
        assert await _is_refused(bench, bench.creation("large", too_large))
        assert await bench.find("large") is None

    @promise(at_most("max_key", 4096))
    async def test_key_length_limit_is_exact(self, bench: Bench) -> None:
        """A key of `max_key` is accepted; a longer key is refused."""
        room = (bench.capabilities.max_key or 0) - (len(bench.store.remote_key(bench.namespace, Identity("k"))) - 1)
        await bench.create("k" * room)
        assert set((await bench.see()).entries) == {Identity("k" * room)}
        assert await _is_refused(bench, bench.creation("k" * (room + 1)))

    @promise(labelled)
    async def test_labels_separate_entries(self, bench: Bench) -> None:
        """One key with different labels, and without one, are different entries that are written and deleted apart."""
        identities = [Identity("theme"), Identity("theme", "prod"), Identity("theme", "dev")]
        for identity in identities:
            await bench.create(identity, Content(str(identity).encode()))
        assert set((await bench.see()).entries) == set(identities)
        await bench.must(bench.deletion(await bench.get(identities[1])))
        assert set((await bench.see()).entries) == {identities[0], identities[2]}
        assert await bench.value(identities[0]) == b"theme"

    @promise()
    async def test_namespaces_are_separate(self, bench: Bench) -> None:
        """The same key in two namespaces is two entries; a write in one namespace does not change the other."""
        here = await bench.create("greeting", Content(b"here"))
        await bench.create("greeting", Content(b"there"), namespace=bench.elsewhere)
        await bench.must(bench.deletion(here))
        assert not (await bench.see()).entries
        assert await bench.value("greeting", bench.elsewhere) == b"there"

    @promise()
    async def test_namespaces_are_listed(self, bench: Bench) -> None:
        """`namespaces` lists every namespace that holds an entry, sorted."""
        await bench.create("greeting")
        await bench.create("greeting", namespace=bench.elsewhere)
        listed = list(await bench.store.namespaces())
        assert {bench.namespace, bench.elsewhere} <= set(listed)
        assert listed == sorted(listed)

    @promise(bulk)
    async def test_full_batch_is_one_request(self, bench: Bench) -> None:
        """`batch` writes go in one call, and cost one request."""
        count = min(bench.capabilities.batch, 2000)
        writes = [bench.creation(f"key-{number:05}", Content(b"%d" % number)) for number in range(count)]
        await bench.see()  # connects
        before = bench.store.traffic.requests
        results = await bench.store.write(bench.namespace, writes)
        assert {result.status for result in results} == {WriteStatus.DONE}
        assert bench.store.traffic.requests - before <= 1
        await bench.settle()
        assert len((await bench.see()).entries) == count

    @promise(bulk)
    async def test_results_are_in_order_of_writes(self, bench: Bench) -> None:
        """One call may create, change and delete; each result is at the position of its write."""
        changed, deleted = await bench.create("changed"), await bench.create("deleted")
        writes = [bench.deletion(deleted), bench.creation("created"), bench.change(changed, Content(b"2"))]
        for write, result in zip(writes, await bench.must(*writes), strict=True):
            present = await bench.find(write.identity)
            assert result.etag == (present.etag if present is not None else None), write.identity
        assert set((await bench.see()).entries) == {Identity("created"), Identity("changed")}

    @promise(bulk)
    async def test_batch_with_duplicate_entry_is_refused(self, bench: Bench) -> None:
        """A call that names an entry twice is refused as a whole, because the result would depend on the order."""
        call = [bench.creation("other"), bench.creation("twice", Content(b"1")), bench.creation("twice", Content(b"2"))]
        try:
            await bench.store.write(bench.namespace, call[-bench.capabilities.batch :])
        except BatchRefused:
            assert not (await bench.see()).entries
        else:
            raise AssertionError("the store must raise BatchRefused")

    @promise(at_most("batch", 5000))
    async def test_too_long_batch_is_refused(self, bench: Bench) -> None:
        """A call with more than `batch` writes is refused as a whole."""
        call = [bench.creation(f"key-{number:05}") for number in range(bench.capabilities.batch + 1)]
        try:
            await bench.store.write(bench.namespace, call)
        except BatchRefused:
            assert not (await bench.see()).entries
        else:
            raise AssertionError("the store must raise BatchRefused")


def _fits(key: str, bench: Bench) -> bool:
    """True if the capabilities allow this key."""
    limits = bench.capabilities
    remote_key = bench.store.remote_key(bench.namespace, Identity(key))
    size = len(remote_key.encode()) if limits.key_unit is SizeUnit.BYTES else len(remote_key)
    within = limits.max_key is None or size <= limits.max_key
    return within and (limits.key_pattern is None or re.fullmatch(limits.key_pattern, remote_key) is not None)


async def _is_refused(bench: Bench, write: Write) -> bool:
    """True if the write was refused permanently: by its result or by BatchRefused."""
    try:
        results = await bench.store.write(bench.namespace, [write])
    except BatchRefused:
        return True
    return results[0].status is WriteStatus.REJECTED


async def _read_all(bench: Bench, identities: list[Identity]) -> dict[Identity, Content | None]:
    found: dict[Identity, Content | None] = {}
    for part in _parts(identities, bench.capabilities.read_batch):
        actual = await bench.store.read(bench.namespace, part)
        found |= {identity: entry.content for identity, entry in actual.items()}
    return found


def _parts(identities: list[Identity], size: int) -> Iterator[list[Identity]]:
    for start in range(0, len(identities), size):
        yield identities[start : start + size]
