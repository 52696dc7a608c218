"""Conformance: a store that keeps the ledger returns it unchanged, and hides it elsewhere."""

from __future__ import annotations

from kvsync.ledger.document import LedgerDocument, LedgerRow, decode, encode
from kvsync.model.entry import Content, Identity
from kvsync.model.place import Place
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Store
from kvsync.stores.extensions import LedgerKeeping, ledger_keeper, observe_deep
from kvsync.testing.conformance.bench import OWNER, Bench
from kvsync.testing.conformance.suite import Suite, SuiteStep, having, promise

_MANY = 5000

_SIGNER = MarkSigner(OWNER, Place("conformance", ()))


def keeping(suite: type[Suite]) -> str | None:
    """Needs a store that keeps the ledger."""
    return None if suite.keeps_ledger else "needs a store that keeps the ledger, which this suite does not open"


def keeper_of(store: Store) -> LedgerKeeping:
    """The store, which must keep the ledgers of its namespaces."""
    keeper = ledger_keeper(store)
    assert keeper is not None, "the store needs all members of kvsync.LedgerKeeping, and keeps_ledger = True"
    return keeper


class LedgersInStores(Suite):
    """The extension `LedgerKeeping`, and the ledger of a snapshot."""

    step = SuiteStep.LEDGER

    @promise(keeping)
    async def test_there_is_no_ledger_at_first(self, bench: Bench) -> None:
        """A namespace in which nothing was left has no ledger, whatever entries it holds."""
        assert await keeper_of(bench.store).read_ledger(bench.namespace) is None
        await bench.create("greeting")
        assert await keeper_of(bench.store).read_ledger(bench.namespace) is None
        assert (await bench.see()).ledger is None

    @promise(keeping)
    async def test_a_ledger_comes_back_as_it_was_left(self, bench: Bench) -> None:
        """Read alone or with a listing, by this connection or another, it is what was left, byte for byte."""
        ledger = _ledger(3)
        await keeper_of(bench.store).write_ledger(bench.namespace, ledger)
        await bench.settle()
        for store in (bench.store, bench.connect()):
            assert await keeper_of(store).read_ledger(bench.namespace) == ledger
            snapshot = await store.observe(bench.namespace, bench.signer())
            assert snapshot is not None
            assert snapshot.ledger == ledger

    @promise(keeping)
    async def test_a_deep_listing_has_the_ledger_too(self, bench: Bench) -> None:
        """Where a store can list deep, the ledger comes with it."""
        await bench.create("greeting")
        ledger = _ledger(3)
        await keeper_of(bench.store).write_ledger(bench.namespace, ledger)
        await bench.settle()
        snapshot = await observe_deep(bench.store, bench.namespace, bench.signer())
        if snapshot is not None:
            assert snapshot.ledger == ledger
            assert set(snapshot.entries) == {Identity("greeting")}

    @promise(keeping)
    async def test_a_ledger_takes_the_place_of_the_older_one(self, bench: Bench) -> None:
        """A shorter ledger after a longer one is as whole as the other way round."""
        for entries in (2, 200, 3, 0):
            ledger = _ledger(entries)
            await keeper_of(bench.store).write_ledger(bench.namespace, ledger)
            assert await keeper_of(bench.connect()).read_ledger(bench.namespace) == ledger

    @promise(keeping)
    async def test_a_ledger_is_no_entry(self, bench: Bench) -> None:
        """It is not listed among the entries, is not a namespace, and leaves entries as they are."""
        before = await bench.create("greeting", Content(b"Hello"))
        names = await bench.store.namespaces()
        await keeper_of(bench.store).write_ledger(bench.namespace, _ledger(300))
        await bench.settle()
        assert set((await bench.see()).entries) == {Identity("greeting")}
        assert await bench.get("greeting") == before
        assert await bench.store.namespaces() == names

    @promise(keeping)
    async def test_a_ledger_belongs_to_its_namespace(self, bench: Bench) -> None:
        """The ledger of one namespace is not that of another, nor among its entries."""
        await bench.create("greeting", namespace=bench.elsewhere)
        ledger = _ledger(3)
        await keeper_of(bench.store).write_ledger(bench.namespace, ledger)
        await bench.settle()
        assert await keeper_of(bench.store).read_ledger(bench.elsewhere) is None
        assert set((await bench.see(bench.elsewhere)).entries) == {Identity("greeting")}
        await keeper_of(bench.store).write_ledger(bench.elsewhere, _ledger(1))
        assert await keeper_of(bench.store).read_ledger(bench.namespace) == ledger

    @promise(keeping)
    async def test_a_removed_ledger_is_gone(self, bench: Bench) -> None:
        """Nothing of it is left, entries stay, and removing it again is not an error."""
        before = await bench.create("greeting", Content(b"Hello"))
        await keeper_of(bench.store).write_ledger(bench.namespace, _ledger(300))
        for _ in range(2):
            await keeper_of(bench.store).remove_ledger(bench.namespace)
            await bench.settle()
            assert await keeper_of(bench.connect()).read_ledger(bench.namespace) is None
        assert (await bench.see()).ledger is None
        assert await bench.get("greeting") == before

    @promise(keeping)
    async def test_a_large_ledger_is_whole(self, bench: Bench) -> None:
        """The ledger of 5,000 entries comes back whole."""
        ledger = _ledger(_MANY)
        await keeper_of(bench.store).write_ledger(bench.namespace, ledger)
        await bench.settle()
        found = await keeper_of(bench.connect()).read_ledger(bench.namespace)
        assert found == ledger
        assert len(decode(found, _SIGNER).rows) == _MANY
        assert (await bench.see()).ledger == ledger

    @promise(keeping)
    async def test_a_ledger_in_any_language_is_whole(self, bench: Bench) -> None:
        """Keys and owners of any script are in a ledger as they are."""
        row = LedgerRow(b"0123456789abcdef", etag='"ü"\\')
        ledger = encode(LedgerDocument("équipe", {Identity("ключ", "テーマ"): row, Identity("🗝️"): row}), _SIGNER)
        await keeper_of(bench.store).write_ledger(bench.namespace, ledger)
        assert await keeper_of(bench.store).read_ledger(bench.namespace) == ledger

    @promise(keeping, having("always_expires"))
    async def test_a_ledger_that_ends_says_when(self, bench: Bench) -> None:
        """Where everything ends, a snapshot tells when the ledger does; leaving it again gives it another life."""
        longest = bench.capabilities.max_ttl or 0
        await keeper_of(bench.store).write_ledger(bench.namespace, _ledger(30))
        assert abs((await _end(bench)) - bench.clock.now() - longest) <= 10
        await bench.pass_time(longest * 2 / 3)
        await keeper_of(bench.store).write_ledger(bench.namespace, _ledger(30))
        assert abs((await _end(bench)) - bench.clock.now() - longest) <= 10
        await bench.pass_time(longest * 2 / 3)
        assert await keeper_of(bench.store).read_ledger(bench.namespace) == _ledger(30)
        await bench.pass_time(longest / 3 + 60)
        assert await keeper_of(bench.store).read_ledger(bench.namespace) is None
        assert (await bench.see()).ledger is None


async def _end(bench: Bench) -> float:
    moment = (await bench.see()).ledger_expires_at
    assert moment is not None
    return moment


def _ledger(entries: int) -> bytes:
    """A ledger as kvsync leaves it, with so many entries."""
    rows = {
        Identity(f"key-{number:05}"): LedgerRow(number.to_bytes(16, "big"), etag=f"{number}:0123456789abcdef")
        for number in range(entries)
    }
    return encode(LedgerDocument(OWNER, rows), _SIGNER)
