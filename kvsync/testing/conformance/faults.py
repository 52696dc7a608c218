"""Conformance: errors of the remote are reported correctly."""

from __future__ import annotations

from kvsync.errors import BatchRefused, LostAnswer
from kvsync.model.entry import Content, Identity
from kvsync.stores.base import WriteResult, WriteStatus
from kvsync.testing.conformance.bench import Bench
from kvsync.testing.conformance.suite import Suite, SuiteStep, bulk, method, promise


class Faults(Suite):
    """Lost answers, refused entries, listings that break off. These need the optional methods of the suite."""

    step = SuiteStep.FAULTS

    @promise(method("lose_next_answer"))
    async def test_a_lost_answer_is_told(self, bench: Bench) -> None:
        """A write whose answer is lost raises LostAnswer or results in UNKNOWN, and a reading shows that it was done."""
        write = bench.creation("greeting", Content(b"Hello"))
        self.lose_next_answer()
        try:
            results = await bench.store.write(bench.namespace, [write])
        except LostAnswer:
            pass
        else:
            assert [result.status for result in results] == [WriteStatus.UNKNOWN]
        await bench.settle()
        assert await bench.value("greeting") == b"Hello"

    @promise(method("refuse"))
    async def test_a_refused_entry_is_told(self, bench: Bench) -> None:
        """An entry that the remote does not take alone is refused with a reason, and not there."""
        self.refuse(Identity("bad"))
        try:
            result = (await bench.store.write(bench.namespace, [bench.creation("bad")]))[0]
        except BatchRefused as refusal:
            result = WriteResult(WriteStatus.REJECTED, error=str(refusal))
        assert result.status is WriteStatus.REJECTED
        assert result.error
        assert await bench.find("bad") is None

    @promise(method("refuse"), bulk)
    async def test_a_refused_entry_among_others(self, bench: Bench) -> None:
        """In a call, a refused entry either stands alone in the results, or the whole call is refused and nothing written."""
        self.refuse(Identity("bad"))
        writes = [bench.creation(key) for key in ("good-1", "bad", "good-2")]
        try:
            statuses = [result.status for result in await bench.send(writes)]
        except BatchRefused:
            assert not (await bench.see()).entries
        else:
            assert statuses == [WriteStatus.DONE, WriteStatus.REJECTED, WriteStatus.DONE]
            assert set((await bench.see()).entries) == {Identity("good-1"), Identity("good-2")}

    @promise(method("break_next_listing"))
    async def test_an_incomplete_listing_is_told(self, bench: Bench) -> None:
        """A listing that broke off is not complete, and names the problem; the next one is whole again."""
        await bench.create("greeting")
        self.break_next_listing()
        snapshot = await bench.see()
        assert not snapshot.complete
        assert snapshot.problems
        assert (await bench.see()).complete
