"""Conformance: entries expire on time, and renewals change nothing else."""

from __future__ import annotations

from dataclasses import replace

from kvsync.model.capabilities import Lifetimes, Marks
from kvsync.model.entry import Content, Identity
from kvsync.testing.conformance.harness import StoreHarness
from kvsync.testing.conformance.suite import Suite, SuiteStep, having, promise

native = having("lifetimes", Lifetimes.NATIVE)


class LifetimesOfEntries(Suite):
    """Expiry: enforced by the store itself, or only stored for the daemon."""

    step = SuiteStep.LIFETIMES

    @promise(native)
    async def test_entry_expires_on_time(self, harness: StoreHarness) -> None:
        """An entry exists until it expires; then it is neither read nor listed, and other entries are."""
        moment = _moment(harness, 1)
        await harness.create("stays", expires_at=_moment(harness, 10))
        await harness.create("promo", expires_at=moment)
        await harness.pass_time(moment - 1 - harness.clock.now())
        assert Identity("promo") in (await harness.see()).entries
        await harness.pass_time(2)
        assert await harness.find("promo") is None
        assert set((await harness.see()).entries) == {Identity("stays")}

    @promise(native)
    async def test_expired_key_can_be_created_again(self, harness: StoreHarness) -> None:
        """After an entry expired, its key can be created again."""
        await harness.create("promo", Content(b"old"), expires_at=_moment(harness, 1))
        await harness.pass_time(_ttl(harness) + 1)
        await harness.create("promo", Content(b"new"))
        assert await harness.value("promo") == b"new"

    @promise(native)
    async def test_expiry_is_read_and_listed(self, harness: StoreHarness) -> None:
        """`read` and `observe` return when an entry expires, to the second."""
        moment = _moment(harness, 5)
        read = await harness.create("promo", expires_at=moment)
        listed = await harness.listed(Identity("promo"))
        for entry in (read, listed):
            assert entry.expires_at is not None
            assert abs(entry.expires_at - moment) <= 1
        assert Identity("promo") not in (await harness.see()).settled

    @promise(native)
    async def test_renewal_changes_expiry_only(self, harness: StoreHarness) -> None:
        """A touch changes when an entry expires, but not its content and mark; its etag is new."""
        before = await harness.create("promo", Content(b"Hello"), ttl=_ttl(harness), expires_at=_moment(harness, 1))
        write = harness.change(before, Content(b"Hello"), ttl=_ttl(harness), expires_at=_moment(harness, 3))
        await harness.must(replace(write, touch=True))
        after = await harness.get("promo")
        assert (after.content, after.mark) == (before.content, before.mark)
        assert after.etag != before.etag or not harness.capabilities.compare_and_set
        await harness.pass_time(_ttl(harness) + 1)
        assert await harness.value("promo") == b"Hello"

    @promise(native, having("always_expires", False))
    async def test_change_without_expiry_removes_it(self, harness: StoreHarness) -> None:
        """After a change without an expiry, the entry does not expire."""
        before = await harness.create("promo", expires_at=_moment(harness, 1))
        await harness.must(harness.change(before, Content(b"for good")))
        await harness.pass_time(_ttl(harness) * 10)
        assert (await harness.get("promo")).expires_at is None

    @promise(having("lifetimes", Lifetimes.EMULATED), having("marks", Marks.STORE))
    async def test_emulated_expiry_is_kept(self, harness: StoreHarness) -> None:
        """A store without expiry keeps the time next to the entry, for the daemon, and keeps the entry after that time."""
        moment = _moment(harness, 1)
        read = await harness.create("promo", expires_at=moment)
        assert read.expires_at == moment
        await harness.pass_time(_ttl(harness) + 1)
        assert (await harness.listed(Identity("promo"))).expires_at == moment


def _ttl(harness: StoreHarness) -> int:
    """A lifetime in seconds that the store accepts, and that is long compared with the time it takes to settle."""
    return max(harness.capabilities.min_ttl, 60, int(10 * harness.capabilities.settle))


def _moment(harness: StoreHarness, times: int) -> float:
    return float(int(harness.clock.now())) + _ttl(harness) * times
