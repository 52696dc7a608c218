"""The conformance suite itself: it passes a store that keeps the contract, and each broken one fails it where it is broken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kvsync.model.capabilities import Capabilities, Lifetimes, Marks
from kvsync.model.entry import Actual, Content, Identity
from kvsync.model.snapshot import Snapshot, snapshot_of
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Precondition, Store, Write, WriteResult
from kvsync.stores.memory.store import MemoryStore
from kvsync.testing import FakeClock, MemoryServer, StoreConformance, memory_store
from kvsync.testing.conformance.ledgers import lease_store_of
from tests.testing.faulty import Faulty, failures, suite_over


class Overwrites(Faulty):
    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        present = await self._inner.read(namespace, [write.identity for write in writes])
        forced = [
            replace(write, etag=present[write.identity].etag) if write.identity in present else write
            for write in writes
        ]
        return await self._inner.write(namespace, forced)


class DropsMarks(Faulty):
    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        return await self._inner.write(namespace, [replace(write, mark=None) for write in writes])


class StripsValues(Faulty):
    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        stripped = [
            replace(write, content=write.content._replace(value=write.content.value.strip()))
            if write.content
            else write
            for write in writes
        ]
        return await self._inner.write(namespace, stripped)


class ForgetsLabels(Faulty):
    async def read(self, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        found = await self._inner.read(namespace, [Identity(identity.key) for identity in identities])
        return {replaced: found[Identity(replaced.key)] for replaced in identities if Identity(replaced.key) in found}


class ListsOnePage(Faulty):
    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        snapshot = await self._inner.observe(namespace, signer, token)
        assert snapshot is not None
        return snapshot_of(snapshot.target, list(snapshot.entries.values())[: self.capabilities.page], signer)


class HidesForeign(Faulty):
    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        snapshot = await self._inner.observe(namespace, signer, token)
        assert snapshot is not None
        return snapshot_of(snapshot.target, [entry for entry in snapshot.entries.values() if entry.mark], signer)


class SettlesEverything(Faulty):
    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        snapshot = await self._inner.observe(namespace, signer, token)
        assert snapshot is not None
        settled = {identity: entry.fingerprint or b"" for identity, entry in snapshot.entries.items()}
        return replace(snapshot, settled=settled)


class NeverEnds(Faulty):
    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        return await self._inner.write(namespace, [replace(write, expires_at=None) for write in writes])


class SwapsResults(Faulty):
    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        return list(reversed(await self._inner.write(namespace, writes)))


class MixesNamespaces(Faulty):
    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        return await self._inner.write("one", writes)

    async def read(self, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        return await self._inner.read("one", identities)

    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        return await self._inner.observe("one", signer, token)


class StaleToken(Faulty):
    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        snapshot = await self._inner.observe(namespace, signer, token)
        assert snapshot is not None
        return None if token is not None else replace(snapshot, token="always the same")


class CutsLedgers(Faulty):
    async def write_ledger(self, namespace: str, ledger: bytes) -> None:
        await lease_store_of(self._inner).write_ledger(namespace, ledger[:20_000])


class MixesLedgers(Faulty):
    async def write_ledger(self, namespace: str, ledger: bytes) -> None:
        await lease_store_of(self._inner).write_ledger("one", ledger)

    async def read_ledger(self, namespace: str) -> bytes | None:
        return await lease_store_of(self._inner).read_ledger("one")


class KeepsLedgers(Faulty):
    async def remove_ledger(self, namespace: str) -> None:
        return


class ListsLedgers(Faulty):
    async def write_ledger(self, namespace: str, ledger: bytes) -> None:
        await lease_store_of(self._inner).write_ledger(namespace, ledger)
        await self._inner.write(namespace, [Write(Identity("ledger"), Precondition.ABSENT, Content(ledger))])


class HidesLedgers(Faulty):
    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        snapshot = await self._inner.observe(namespace, signer, token)
        assert snapshot is not None
        return replace(snapshot, ledger=None)


class TakesSizesForDigests(Faulty):
    def may_be_version(self, seen: str, known: str) -> bool:
        return seen.partition(":")[0] == known.partition(":")[0]


class BelievesAnything(Faulty):
    def may_be_version(self, seen: str, known: str) -> bool:
        return True


def bucket_suite_over(wrap: type[Faulty]) -> type[StoreConformance]:
    """The suite over a memory that lists sizes and keeps ledgers, behind such a wrapper."""
    shape: dict[str, Any] = {
        "compare_and_set": False,
        "marks": Marks.LEDGER,
        "lifetimes": Lifetimes.EMULATED,
        "values_in_listing": False,
        "page": 20,
    }

    class Suite(StoreConformance):
        capabilities: ClassVar[Capabilities] = replace(MemoryStore.capabilities, **shape)
        keeps_ledger = True

        def open_store(self, clock: FakeClock) -> Store:
            self.server = getattr(self, "server", MemoryServer(clock))
            return wrap(memory_store(self.server, clock=clock, keeps_ledger=True, lists_sizes=True, **shape))

        async def foreign_write(self, namespace: str, identity: Identity, content: Content) -> None:
            self.server.write(namespace, identity.key, content, label=identity.label)

    return Suite


def test_a_good_store_passes() -> None:
    """A store that keeps the contract fails nothing."""
    assert failures(suite_over(Faulty)) == set()


@pytest.mark.parametrize(
    ("wrap", "caught_by"),
    [
        (Overwrites, "test_change_of_newer_version_conflicts"),
        (DropsMarks, "test_marks_are_returned_unchanged"),
        (StripsValues, "test_text_values_are_returned_unchanged"),
        (ForgetsLabels, "test_labels_separate_entries"),
        (ListsOnePage, "test_listing_has_all_pages"),
        (HidesForeign, "test_foreign_entries_are_listed"),
        (SettlesEverything, "test_entries_of_another_owner_are_not_settled"),
        (NeverEnds, "test_entry_expires_on_time"),
        (SwapsResults, "test_results_are_in_order_of_writes"),
        (MixesNamespaces, "test_namespaces_are_separate"),
        (StaleToken, "test_token_is_invalid_after_write"),
    ],
)
def test_a_broken_store_fails(wrap: type[Faulty], caught_by: str) -> None:
    """A store that breaks a promise fails the test of that promise."""
    assert failures(suite_over(wrap), caught_by) == {caught_by}


def test_a_good_store_that_keeps_ledgers_passes() -> None:
    """A store that lists sizes and keeps ledgers as the contract says fails nothing."""
    assert failures(bucket_suite_over(Faulty)) == set()


@pytest.mark.parametrize(
    ("wrap", "caught_by"),
    [
        (CutsLedgers, "test_large_ledger_is_returned_unchanged"),
        (MixesLedgers, "test_ledgers_of_namespaces_are_separate"),
        (KeepsLedgers, "test_removed_ledger_is_gone"),
        (ListsLedgers, "test_ledger_is_not_an_entry"),
        (HidesLedgers, "test_ledger_is_returned_unchanged"),
        (TakesSizesForDigests, "test_deep_listing_shows_every_edit"),
        (BelievesAnything, "test_size_change_is_another_version"),
    ],
)
def test_a_broken_keeper_of_ledgers_fails(wrap: type[Faulty], caught_by: str) -> None:
    """A store that breaks a promise about ledgers or versions fails the test of that promise."""

    class Wrapped(wrap, Faulty):  # type: ignore[valid-type,misc]
        pass

    assert failures(bucket_suite_over(Wrapped), caught_by) == {caught_by}


def test_what_does_not_apply_is_left_out() -> None:
    """Tests that a store's capabilities do not allow are not there, and the suite says why; a subclass may bring them back."""

    class Bare(StoreConformance):
        capabilities = replace(MemoryStore.capabilities, compare_and_set=False, labels=False, batch=1)

    class Rich(Bare):
        capabilities = MemoryStore.capabilities

    assert not callable(vars(Bare)["test_create_does_not_overwrite"])
    assert "compare_and_set" in Bare.left_out["test_create_does_not_overwrite"]
    assert "labels" in Bare.left_out["test_labels_separate_entries"]
    assert "foreign_write" in Bare.left_out["test_foreign_entries_are_listed"]
    assert callable(vars(Rich)["test_create_does_not_overwrite"])
    assert "test_create_does_not_overwrite" not in Rich.left_out


THIRD_PARTY = """
from kvsync.stores.memory.store import MemoryStore
from kvsync.testing import MemoryServer, StoreConformance, memory_store

class TestMine(StoreConformance):
    capabilities = MemoryStore.capabilities

    def open_store(self, clock):
        self.server = getattr(self, "server", MemoryServer(clock))
        return memory_store(self.server, clock=clock)
"""


def test_third_parties_need_pytest_alone(tmp_path: Path) -> None:
    """Another package's suite runs with plain pytest, without plugins or settings of ours, and skips nothing."""
    (tmp_path / "test_mine.py").write_text(THIRD_PARTY)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:asyncio",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        ".",
        ".",
    ]
    root = str(Path(__file__).parents[2])
    run = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": root}, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stdout
    assert "passed" in run.stdout
    assert "skipped" not in run.stdout


def test_kvsync_does_not_need_pytest() -> None:
    """Nothing of kvsync imports pytest on its own, not even the suite."""
    program = (
        "import sys, kvsync.stores, kvsync.testing.conformance, kvsync.testing.server; print('pytest' in sys.modules)"
    )
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, env={"PYTHONPATH": root}, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "False"
