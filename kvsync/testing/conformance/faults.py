"""Conformance: errors of the remote are reported correctly."""

from __future__ import annotations

from kvsync.errors import BatchRefused, LostAnswer
from kvsync.model.entry import Content, Identity
from kvsync.stores.base import WriteResult, WriteStatus
from kvsync.testing.conformance.harness import StoreHarness
from kvsync.testing.conformance.suite import Suite, SuiteStep, bulk, method, promise


class Faults(Suite):
    """Lost answers, refused entries, incomplete listings. These tests need optional methods of the suite."""

    step = SuiteStep.FAULTS

    @promise(method("lose_next_answer"))
    async def test_lost_answer_is_reported(self, harness: StoreHarness) -> None:
        """A write whose answer is lost raises LostAnswer or has the result UNKNOWN, and a read shows that it was done."""
        write = harness.creation("greeting", Content(b"Hello"))
        self.lose_next_answer()
        try:
            results = await harness.store.write(harness.namespace, [write])
        except LostAnswer:
            pass
        else:
            assert [result.status for result in results] == [WriteStatus.UNKNOWN]
        await harness.settle()
        assert await harness.value("greeting") == b"Hello"

    @promise(method("refuse"))
    async def test_refused_entry_is_reported(self, harness: StoreHarness) -> None:
        """An entry that the remote refuses has the result REJECTED with a reason, and does not exist."""
        self.refuse(Identity("bad"))
        try:
            result = (await harness.store.write(harness.namespace, [harness.creation("bad")]))[0]
        except BatchRefused as refusal:
            result = WriteResult(WriteStatus.REJECTED, error=str(refusal))
        assert result.status is WriteStatus.REJECTED
        assert result.error
        assert await harness.find("bad") is None

    @promise(method("refuse"), bulk)
    async def test_refused_entry_does_not_hide_others(self, harness: StoreHarness) -> None:
        """A refused entry among others has its own result, or the whole call is refused and nothing is written."""
        self.refuse(Identity("bad"))
        writes = [harness.creation(key) for key in ("good-1", "bad", "good-2")]
        try:
            statuses = [result.status for result in await harness.send(writes)]
        except BatchRefused:
            assert not (await harness.see()).entries
        else:
            assert statuses == [WriteStatus.DONE, WriteStatus.REJECTED, WriteStatus.DONE]
            assert set((await harness.see()).entries) == {Identity("good-1"), Identity("good-2")}

    @promise(method("break_next_listing"))
    async def test_incomplete_listing_is_reported(self, harness: StoreHarness) -> None:
        """An interrupted listing is not complete, and names the problem; the next listing is complete."""
        await harness.create("greeting")
        self.break_next_listing()
        snapshot = await harness.see()
        assert not snapshot.complete
        assert snapshot.problems
        assert (await harness.see()).complete
