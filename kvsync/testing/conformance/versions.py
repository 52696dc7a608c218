"""Conformance: etags of stores without versions, or whose listings contain less than a read."""

from __future__ import annotations

from kvsync.model.entry import Actual, Content, Identity
from kvsync.stores.extensions import observe_deep, version_hints
from kvsync.testing.conformance.harness import StoreHarness
from kvsync.testing.conformance.suite import Suite, SuiteStep, having, method, promise

_SAME_SIZE = (Content(b"Hello"), Content(b"HELLO"))


class Versions(Suite):
    """The extensions `VersionHints` and `DeepObservable`."""

    step = SuiteStep.TOKENS

    @promise()
    async def test_size_change_is_another_version(self, harness: StoreHarness) -> None:
        """An entry that was changed to a value of another length is no longer listed with its earlier version."""
        before = await harness.create("greeting", Content(b"Hello"))
        await harness.must(harness.change(before, Content(b"Hello, world")))
        listed = await harness.listed(Identity("greeting"))
        if before.etag is not None and listed.etag is not None:
            assert not version_hints(harness.store).may_be_version(listed.etag, before.etag)

    @promise(having("compare_and_set", value=False))
    async def test_etags_without_versions_depend_on_content(self, harness: StoreHarness) -> None:
        """If etags are made from the content, another value of the same length is read with another etag, and the same
        value with the same etag, on every connection."""
        before = await harness.create("greeting", _SAME_SIZE[0])
        await harness.must(harness.change(before, _SAME_SIZE[1]))
        after = await harness.get("greeting")
        assert after.etag != before.etag or after.etag is None
        found = await harness.connect().read(harness.namespace, [Identity("greeting")])
        assert found[Identity("greeting")].etag == after.etag

    @promise(method("foreign_write"))
    async def test_deep_listing_shows_every_edit(self, harness: StoreHarness) -> None:
        """If the store has deep listings, they show an edit of the same length by its etag or fingerprint, and agree with reads
        of unchanged entries; foreign entries are listed too."""
        before = {key: await harness.create(key, _SAME_SIZE[0]) for key in ("edited", "untouched")}
        await self.foreign_write(harness.namespace, Identity("edited"), _SAME_SIZE[1])
        await self.foreign_write(harness.namespace, Identity("foreign"), _SAME_SIZE[0])
        await harness.settle()
        snapshot = await observe_deep(harness.store, harness.namespace, harness.signer())
        if snapshot is None:
            return
        assert snapshot.complete
        assert set(snapshot.entries) == {Identity(key) for key in ("edited", "untouched", "foreign")}
        assert _agrees(harness, snapshot.entries[Identity("untouched")], before["untouched"])
        assert not _agrees(harness, snapshot.entries[Identity("edited")], before["edited"])


def _agrees(harness: StoreHarness, seen: Actual, read: Actual) -> bool:
    if seen.fingerprint is not None:
        return seen.fingerprint == read.fingerprint
    assert seen.etag is not None, "a deep listing has an etag or a fingerprint for every entry"
    assert read.etag is not None
    return version_hints(harness.store).may_be_version(seen.etag, read.etag)
