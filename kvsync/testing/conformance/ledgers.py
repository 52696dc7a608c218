"""Conformance: a store that keeps the ledger returns it unchanged, and hides it elsewhere."""

from __future__ import annotations

from kvsync.ledger.document import LedgerDocument, LedgerRow, decode, encode
from kvsync.model.entry import Content, Identity
from kvsync.model.place import Place
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Store
from kvsync.stores.extensions import LedgerKeeping, as_ledger_keeping, observe_deep
from kvsync.testing.conformance.harness import OWNER, StoreHarness
from kvsync.testing.conformance.suite import Suite, SuiteStep, having, promise

_MANY = 5000

_SIGNER = MarkSigner(OWNER, Place("conformance", ()))


def keeping(suite: type[Suite]) -> str | None:
    """Require a store that keeps the ledger."""
    return None if suite.keeps_ledger else "needs keeps_ledger = True, for a store that keeps the ledger"


def lease_store_of(store: Store) -> LedgerKeeping:
    """Return the store, which must keep the ledgers of its namespaces."""
    keeper = as_ledger_keeping(store)
    assert keeper is not None, "the store needs all members of kvsync.LedgerKeeping, and keeps_ledger = True"
    return keeper


class LedgersInStores(Suite):
    """The extension `LedgerKeeping`, and the ledger of a snapshot."""

    step = SuiteStep.LEDGER

    @promise(keeping)
    async def test_new_namespace_has_no_ledger(self, harness: StoreHarness) -> None:
        """A namespace to which no ledger was written has none, whatever entries it holds."""
        assert await lease_store_of(harness.store).read_ledger(harness.namespace) is None
        await harness.create("greeting")
        assert await lease_store_of(harness.store).read_ledger(harness.namespace) is None
        assert (await harness.see()).ledger is None

    @promise(keeping)
    async def test_ledger_is_returned_unchanged(self, harness: StoreHarness) -> None:
        """A ledger is returned byte for byte, by `read_ledger` and by `observe`, on every connection."""
        ledger = _ledger(3)
        await lease_store_of(harness.store).write_ledger(harness.namespace, ledger)
        await harness.settle()
        for store in (harness.store, harness.connect()):
            assert await lease_store_of(store).read_ledger(harness.namespace) == ledger
            snapshot = await store.observe(harness.namespace, harness.signer())
            assert snapshot is not None
            assert snapshot.ledger == ledger

    @promise(keeping)
    async def test_deep_listing_has_ledger(self, harness: StoreHarness) -> None:
        """If the store has deep listings, they contain the ledger."""
        await harness.create("greeting")
        ledger = _ledger(3)
        await lease_store_of(harness.store).write_ledger(harness.namespace, ledger)
        await harness.settle()
        snapshot = await observe_deep(harness.store, harness.namespace, harness.signer())
        if snapshot is not None:
            assert snapshot.ledger == ledger
            assert set(snapshot.entries) == {Identity("greeting")}

    @promise(keeping)
    async def test_new_ledger_replaces_old_one(self, harness: StoreHarness) -> None:
        """A new ledger replaces the old one completely, whether it is shorter or longer."""
        for entries in (2, 200, 3, 0):
            ledger = _ledger(entries)
            await lease_store_of(harness.store).write_ledger(harness.namespace, ledger)
            assert await lease_store_of(harness.connect()).read_ledger(harness.namespace) == ledger

    @promise(keeping)
    async def test_ledger_is_not_an_entry(self, harness: StoreHarness) -> None:
        """The ledger is not listed as an entry or a namespace, and does not change entries."""
        before = await harness.create("greeting", Content(b"Hello"))
        names = await harness.store.namespaces()
        await lease_store_of(harness.store).write_ledger(harness.namespace, _ledger(300))
        await harness.settle()
        assert set((await harness.see()).entries) == {Identity("greeting")}
        assert await harness.get("greeting") == before
        assert await harness.store.namespaces() == names

    @promise(keeping)
    async def test_ledgers_of_namespaces_are_separate(self, harness: StoreHarness) -> None:
        """The ledger of a namespace is not visible in another, neither as ledger nor as entry."""
        await harness.create("greeting", namespace=harness.elsewhere)
        ledger = _ledger(3)
        await lease_store_of(harness.store).write_ledger(harness.namespace, ledger)
        await harness.settle()
        assert await lease_store_of(harness.store).read_ledger(harness.elsewhere) is None
        assert set((await harness.see(harness.elsewhere)).entries) == {Identity("greeting")}
        await lease_store_of(harness.store).write_ledger(harness.elsewhere, _ledger(1))
        assert await lease_store_of(harness.store).read_ledger(harness.namespace) == ledger

    @promise(keeping)
    async def test_removed_ledger_is_gone(self, harness: StoreHarness) -> None:
        """A removed ledger is gone, entries are not changed, and removing it again is not an error."""
        before = await harness.create("greeting", Content(b"Hello"))
        await lease_store_of(harness.store).write_ledger(harness.namespace, _ledger(300))
        for _ in range(2):
            await lease_store_of(harness.store).remove_ledger(harness.namespace)
            await harness.settle()
            assert await lease_store_of(harness.connect()).read_ledger(harness.namespace) is None
        assert (await harness.see()).ledger is None
        assert await harness.get("greeting") == before

    @promise(keeping)
    async def test_large_ledger_is_returned_unchanged(self, harness: StoreHarness) -> None:
        """The ledger of 5,000 entries is returned unchanged."""
        ledger = _ledger(_MANY)
        await lease_store_of(harness.store).write_ledger(harness.namespace, ledger)
        await harness.settle()
        found = await lease_store_of(harness.connect()).read_ledger(harness.namespace)
        assert found == ledger
        assert len(decode(found, _SIGNER).rows) == _MANY
        assert (await harness.see()).ledger == ledger

    @promise(keeping)
    async def test_ledger_keeps_unicode(self, harness: StoreHarness) -> None:
        """A ledger keeps keys and owners in any script."""
        row = LedgerRow(b"0123456789abcdef", etag='"ü"\\')
        ledger = encode(LedgerDocument("équipe", {Identity("ключ", "テーマ"): row, Identity("🗝️"): row}), _SIGNER)
        await lease_store_of(harness.store).write_ledger(harness.namespace, ledger)
        assert await lease_store_of(harness.store).read_ledger(harness.namespace) == ledger

    @promise(keeping, having("always_expires"))
    async def test_ledger_expiry_is_reported(self, harness: StoreHarness) -> None:
        """If everything in the store expires, a snapshot says when the ledger does; writing the ledger again extends that."""
        longest = harness.capabilities.max_ttl or 0
        await lease_store_of(harness.store).write_ledger(harness.namespace, _ledger(30))
        assert abs((await _end(harness)) - harness.clock.now() - longest) <= 10
        await harness.pass_time(longest * 2 / 3)
        await lease_store_of(harness.store).write_ledger(harness.namespace, _ledger(30))
        assert abs((await _end(harness)) - harness.clock.now() - longest) <= 10
        await harness.pass_time(longest * 2 / 3)
        assert await lease_store_of(harness.store).read_ledger(harness.namespace) == _ledger(30)
        await harness.pass_time(longest / 3 + 60)
        assert await lease_store_of(harness.store).read_ledger(harness.namespace) is None
        assert (await harness.see()).ledger is None


async def _end(harness: StoreHarness) -> float:
    moment = (await harness.see()).ledger_expires_at
    assert moment is not None
    return moment


def _ledger(entries: int) -> bytes:
    """A ledger as kvsync writes it, with this many entries."""
    rows = {
        Identity(f"key-{number:05}"): LedgerRow(number.to_bytes(16, "big"), etag=f"{number}:0123456789abcdef")
        for number in range(entries)
    }
    return encode(LedgerDocument(OWNER, rows), _SIGNER)
