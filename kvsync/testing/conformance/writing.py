"""Conformance: reads return exactly what was written."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kvsync.errors import BatchRefused
from kvsync.model.capabilities import SizeUnit
from kvsync.model.entry import Content, Identity
from kvsync.stores.base import Write, WriteStatus
from kvsync.testing.conformance.harness import StoreHarness
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
    async def test_created_entry_is_read(self, harness: StoreHarness) -> None:
        """An entry that was created is there, with its value."""
        assert await harness.find("greeting") is None
        await harness.create("greeting", Content(b"Hello"))
        assert await harness.value("greeting") == b"Hello"

    @promise()
    async def test_change_replaces_all_content(self, harness: StoreHarness) -> None:
        """A change replaces value, content type, tags and metadata; nothing of the earlier content is left."""
        before = await harness.create("limits", FULL)
        assert before.content == harness.store.normalise(FULL)
        await harness.must(harness.change(before, Content(b"plain")))
        assert (await harness.get("limits")).content == Content(b"plain")

    @promise(having("descriptions"))
    async def test_description_is_kept_unless_written(self, harness: StoreHarness) -> None:
        """A change without a description keeps the stored one; an empty description removes it."""
        before = await harness.create("greeting", Content(b"old", description="set by hand"))
        await harness.must(harness.change(before, Content(b"new")))
        after = await harness.get("greeting")
        assert after.content == Content(b"new", description="set by hand")
        await harness.must(harness.change(after, Content(b"new", description="")))
        assert (await harness.get("greeting")).content == Content(b"new")

    @promise()
    async def test_deleted_entry_is_gone(self, harness: StoreHarness) -> None:
        """A deleted entry is neither read nor listed; its neighbours are."""
        first = await harness.create("first")
        await harness.create("second")
        await harness.must(harness.deletion(first))
        assert await harness.find("first") is None
        assert set((await harness.see()).entries) == {Identity("second")}

    @promise()
    async def test_deleted_key_can_be_created_again(self, harness: StoreHarness) -> None:
        """After a delete, the same key can be created again, and has the new content."""
        await harness.must(harness.deletion(await harness.create("greeting", Content(b"old"))))
        await harness.create("greeting", Content(b"new"))
        assert await harness.value("greeting") == b"new"

    @promise()
    async def test_text_values_are_returned_unchanged(self, harness: StoreHarness) -> None:
        """Text values are returned byte for byte: white space, line ends, any Unicode form, what looks like YAML or JSON."""
        await self._come_back(harness, [text.encode() for text in TEXTS])

    @promise(having("binary"))
    async def test_binary_values_are_returned_unchanged(self, harness: StoreHarness) -> None:
        """Binary values are returned byte for byte."""
        await self._come_back(harness, list(BYTES))

    async def _come_back(self, harness: StoreHarness, values: list[bytes]) -> None:
        wanted = {Identity(f"value-{number}"): Content(value) for number, value in enumerate(values)}
        wanted = {identity: content for identity, content in wanted.items() if harness.can_hold(identity, content)}
        await harness.must(*(harness.creation(identity, content) for identity, content in wanted.items()))
        found = await _read_all(harness, list(wanted))
        assert found == {identity: harness.store.normalise(content) for identity, content in wanted.items()}

    @promise()
    async def test_keys_are_returned_unchanged(self, harness: StoreHarness) -> None:
        """Every key that the store accepts names a separate entry, and is listed unchanged."""
        wanted = {
            Identity(key): Content(f"value of {number}".encode())
            for number, key in enumerate(KEYS)
            if harness.can_hold(Identity(key)) and _fits(key, harness)
        }
        await harness.must(*(harness.creation(identity, content) for identity, content in wanted.items()))
        assert await _read_all(harness, list(wanted)) == wanted
        assert set((await harness.see()).entries) == set(wanted)

    @promise()
    async def test_keys_without_remote_key_are_refused(self, harness: StoreHarness) -> None:
        """If the key alone is the remote key, an empty key, `.` and `..` raise ValueError before anything is sent."""
        for key in ("", ".", ".."):
            if harness.store.remote_key(harness.namespace, Identity("x")) == "x":
                assert not harness.can_hold(Identity(key)), f"{key!r} must be refused"

    @promise(at_most("max_value", 32 * 1024 * 1024))
    async def test_largest_value_is_accepted(self, harness: StoreHarness) -> None:
        """A value of `max_value` bytes is accepted, and returned unchanged."""
        largest = b"x" * (harness.capabilities.max_value or 0)
        await harness.create("large", Content(largest))
        assert await harness.value("large") == largest

    @promise(at_most("max_value", 32 * 1024 * 1024))
    async def test_too_large_value_is_refused(self, harness: StoreHarness) -> None:
        """A value one byte larger than `max_value` is refused, not truncated."""
        too_large = Content(b"x" * ((harness.capabilities.max_value or 0) + 1))
        assert await _is_refused(harness, harness.creation("large", too_large))
        assert await harness.find("large") is None

    @promise(at_most("max_key", 4096))
    async def test_key_length_limit_is_exact(self, harness: StoreHarness) -> None:
        """A key of `max_key` is accepted; a longer key is refused."""
        room = (harness.capabilities.max_key or 0) - (
            len(harness.store.remote_key(harness.namespace, Identity("k"))) - 1
        )
        await harness.create("k" * room)
        assert set((await harness.see()).entries) == {Identity("k" * room)}
        assert await _is_refused(harness, harness.creation("k" * (room + 1)))

    @promise(labelled)
    async def test_labels_separate_entries(self, harness: StoreHarness) -> None:
        """One key with different labels, and without one, are different entries that are written and deleted apart."""
        identities = [Identity("theme"), Identity("theme", "prod"), Identity("theme", "dev")]
        for identity in identities:
            await harness.create(identity, Content(str(identity).encode()))
        assert set((await harness.see()).entries) == set(identities)
        await harness.must(harness.deletion(await harness.get(identities[1])))
        assert set((await harness.see()).entries) == {identities[0], identities[2]}
        assert await harness.value(identities[0]) == b"theme"

    @promise()
    async def test_namespaces_are_separate(self, harness: StoreHarness) -> None:
        """The same key in two namespaces is two entries; a write in one namespace does not change the other."""
        here = await harness.create("greeting", Content(b"here"))
        await harness.create("greeting", Content(b"there"), namespace=harness.elsewhere)
        await harness.must(harness.deletion(here))
        assert not (await harness.see()).entries
        assert await harness.value("greeting", harness.elsewhere) == b"there"

    @promise()
    async def test_namespaces_are_listed(self, harness: StoreHarness) -> None:
        """`namespaces` lists every namespace that holds an entry, sorted."""
        await harness.create("greeting")
        await harness.create("greeting", namespace=harness.elsewhere)
        listed = list(await harness.store.namespaces())
        assert {harness.namespace, harness.elsewhere} <= set(listed)
        assert listed == sorted(listed)

    @promise(bulk)
    async def test_full_batch_is_one_request(self, harness: StoreHarness) -> None:
        """`batch` writes go in one call, and cost one request."""
        count = min(harness.capabilities.batch, 2000)
        writes = [harness.creation(f"key-{number:05}", Content(b"%d" % number)) for number in range(count)]
        await harness.see()  # connects
        before = harness.store.traffic.requests
        results = await harness.store.write(harness.namespace, writes)
        assert {result.status for result in results} == {WriteStatus.DONE}
        assert harness.store.traffic.requests - before <= 1
        await harness.settle()
        assert len((await harness.see()).entries) == count

    @promise(bulk)
    async def test_results_are_in_order_of_writes(self, harness: StoreHarness) -> None:
        """One call may create, change and delete; each result is at the position of its write."""
        changed, deleted = await harness.create("changed"), await harness.create("deleted")
        writes = [harness.deletion(deleted), harness.creation("created"), harness.change(changed, Content(b"2"))]
        for write, result in zip(writes, await harness.must(*writes), strict=True):
            present = await harness.find(write.identity)
            assert result.etag == (present.etag if present is not None else None), write.identity
        assert set((await harness.see()).entries) == {Identity("created"), Identity("changed")}

    @promise(bulk)
    async def test_batch_with_duplicate_entry_is_refused(self, harness: StoreHarness) -> None:
        """A call that names an entry twice is refused as a whole, because the result would depend on the order."""
        call = [
            harness.creation("other"),
            harness.creation("twice", Content(b"1")),
            harness.creation("twice", Content(b"2")),
        ]
        try:
            await harness.store.write(harness.namespace, call[-harness.capabilities.batch :])
        except BatchRefused:
            assert not (await harness.see()).entries
        else:
            raise AssertionError("the store must raise BatchRefused")

    @promise(at_most("batch", 5000))
    async def test_too_long_batch_is_refused(self, harness: StoreHarness) -> None:
        """A call with more than `batch` writes is refused as a whole."""
        call = [harness.creation(f"key-{number:05}") for number in range(harness.capabilities.batch + 1)]
        try:
            await harness.store.write(harness.namespace, call)
        except BatchRefused:
            assert not (await harness.see()).entries
        else:
            raise AssertionError("the store must raise BatchRefused")


def _fits(key: str, harness: StoreHarness) -> bool:
    """True if the capabilities allow this key."""
    limits = harness.capabilities
    remote_key = harness.store.remote_key(harness.namespace, Identity(key))
    size = len(remote_key.encode()) if limits.key_unit is SizeUnit.BYTES else len(remote_key)
    within = limits.max_key is None or size <= limits.max_key
    return within and (limits.key_pattern is None or re.fullmatch(limits.key_pattern, remote_key) is not None)


async def _is_refused(harness: StoreHarness, write: Write) -> bool:
    """True if the write was refused permanently: by its result or by BatchRefused."""
    try:
        results = await harness.store.write(harness.namespace, [write])
    except BatchRefused:
        return True
    return results[0].status is WriteStatus.REJECTED


async def _read_all(harness: StoreHarness, identities: list[Identity]) -> dict[Identity, Content | None]:
    found: dict[Identity, Content | None] = {}
    for part in _parts(identities, harness.capabilities.read_batch):
        actual = await harness.store.read(harness.namespace, part)
        found |= {identity: entry.content for identity, entry in actual.items()}
    return found


def _parts(identities: list[Identity], size: int) -> Iterator[list[Identity]]:
    for start in range(0, len(identities), size):
        yield identities[start : start + size]
