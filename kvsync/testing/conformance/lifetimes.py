"""Conformance: entries expire on time, and renewals change nothing else."""

from __future__ import annotations

from dataclasses import replace

from kvsync.model.capabilities import Lifetimes, Marks
from kvsync.model.entry import Content, Identity
from kvsync.testing.conformance.bench import Bench
from kvsync.testing.conformance.suite import Suite, SuiteStep, having, promise

native = having("lifetimes", Lifetimes.NATIVE)


class LifetimesOfEntries(Suite):
    """Expiry: enforced by the store itself, or only stored for the daemon."""

    step = SuiteStep.LIFETIMES

    @promise(native)
    async def test_entry_expires_on_time(self, bench: Bench) -> None:
        """An entry exists until it expires; then it is neither read nor listed, and other entries are."""
        moment = _moment(bench, 1)
        await bench.create("stays", expires_at=_moment(bench, 10))
        await bench.create("promo", expires_at=moment)
        await bench.pass_time(moment - 1 - bench.clock.now())
        assert Identity("promo") in (await bench.see()).entries
        await bench.pass_time(2)
        assert await bench.find("promo") is None
        assert set((await bench.see()).entries) == {Identity("stays")}

    @promise(native)
    async def test_expired_key_can_be_created_again(self, bench: Bench) -> None:
        """After an entry expired, its key can be created again."""
        await bench.create("promo", Content(b"old"), expires_at=_moment(bench, 1))
        await bench.pass_time(_ttl(bench) + 1)
        await bench.create("promo", Content(b"new"))
        assert await bench.value("promo") == b"new"

    @promise(native)
    async def test_expiry_is_read_and_listed(self, bench: Bench) -> None:
        """`read` and `observe` return when an entry expires, to the second."""
        moment = _moment(bench, 5)
        read = await bench.create("promo", expires_at=moment)
        listed = await bench.listed(Identity("promo"))
        for entry in (read, listed):
            assert entry.expires_at is not None
            assert abs(entry.expires_at - moment) <= 1
        assert Identity("promo") not in (await bench.see()).settled

    @promise(native)
    async def test_renewal_changes_expiry_only(self, bench: Bench) -> None:
        """A touch changes when an entry expires, but not its content and mark; its etag is new."""
        before = await bench.create("promo", Content(b"Hello"), ttl=_ttl(bench), expires_at=_moment(bench, 1))
        write = bench.change(before, Content(b"Hello"), ttl=_ttl(bench), expires_at=_moment(bench, 3))
        await bench.must(replace(write, touch=True))
        after = await bench.get("promo")
        assert (after.content, after.mark) == (before.content, before.mark)
        assert after.etag != before.etag or not bench.capabilities.compare_and_set
        await bench.pass_time(_ttl(bench) + 1)
        assert await bench.value("promo") == b"Hello"

    @promise(native, having("always_expires", False))
    async def test_change_without_expiry_removes_it(self, bench: Bench) -> None:
        """After a change without an expiry, the entry does not expire."""
        before = await bench.create("promo", expires_at=_moment(bench, 1))
        await bench.must(bench.change(before, Content(b"for good")))
        await bench.pass_time(_ttl(bench) * 10)
        assert (await bench.get("promo")).expires_at is None

    @promise(having("lifetimes", Lifetimes.EMULATED), having("marks", Marks.STORE))
    async def test_emulated_expiry_is_kept(self, bench: Bench) -> None:
        """A store without expiry keeps the time next to the entry, for the daemon, and keeps the entry after that time."""
        moment = _moment(bench, 1)
        read = await bench.create("promo", expires_at=moment)
        assert read.expires_at == moment
        await bench.pass_time(_ttl(bench) + 1)
        assert (await bench.listed(Identity("promo"))).expires_at == moment


def _ttl(bench: Bench) -> int:
    """A lifetime in seconds that the store accepts, and that is long compared with the time it takes to settle."""
    return max(bench.capabilities.min_ttl, 60, int(10 * bench.capabilities.settle))


def _moment(bench: Bench, times: int) -> float:
    return float(int(bench.clock.now())) + _ttl(bench) * times
