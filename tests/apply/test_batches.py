"""Stores without compare-and-set that can show many entries at once: one scan checks a batch, and one verifies it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import pytest

from kvsync.errors import AuthError, LostAnswer, TransientError
from kvsync.model.entry import Actual, Identity
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import WriteStatus
from tests.apply.harness import ApplyHarness, after, entry, kinds, writes_of

MANY = [f"k{number}" for number in range(8)]


class Scans:
    """Scans of the memory store; `before` is called before each, and raises its errors."""

    def __init__(self, harness: ApplyHarness) -> None:
        self.harness, self.count = harness, 0
        self.before: Callable[[int], None] = lambda _count: None

    async def scan(
        self, namespace: str, signer: MarkSigner, absent: Collection[Identity], present: Collection[Identity]
    ) -> Mapping[Identity, Actual] | None:
        self.count += 1
        self.before(self.count)
        snapshot = await self.harness.store.observe(namespace, signer)
        assert snapshot is not None
        return snapshot.entries


@pytest.fixture
def scanning(make: Callable[..., ApplyHarness]) -> tuple[ApplyHarness, Scans]:
    harness = make(compare_and_set=False, batch=1, read_batch=1)
    scans = Scans(harness)
    harness.store.scan = scans.scan  # type: ignore[attr-defined]
    return harness, scans


def lookups(harness: ApplyHarness) -> int:
    return sum(call.method == "lookup" for call in harness.server.calls)


async def test_two_scans_replace_all_reads(scanning: tuple[ApplyHarness, Scans]) -> None:
    """Creates, updates and deletes are checked by a scan and verified by another, in each stage of the run."""
    harness, scans = scanning
    await harness.settle(*(entry(key, "1") for key in MANY))
    scans.count = 0
    harness.want(*(entry(key, "2") for key in MANY[:4]), *(entry(f"new-{key}") for key in MANY))
    assert set(kinds(await harness.apply()).values()) == {"applied"}
    assert (scans.count, lookups(harness), len(writes_of(harness.server))) == (4, 0, 16)


async def test_a_scan_serves_for_ten_seconds(scanning: tuple[ApplyHarness, Scans]) -> None:
    """When a write is due later than that, the batch is scanned again, and what another program changed in the meantime is
    left alone."""
    harness, scans = scanning
    harness.want(*map(entry, MANY))
    changes = await harness.plan()
    write, sent = harness.store.write, 0

    async def slow(namespace: str, writes: Any) -> Any:
        nonlocal sent
        sent += 1
        results = await write(namespace, writes)
        if sent == 3:
            harness.server.write("web", MANY[-1], b"theirs")
            harness.clock.advance(10.0)
        return results

    harness.store.write = slow  # type: ignore[method-assign]
    assert kinds(await harness.apply(changes, concurrency=1)) == dict.fromkeys(MANY, "applied") | {MANY[-1]: "conflict"}
    assert harness.held(MANY[-1]) == b"theirs"
    assert scans.count == 3


async def test_what_is_overtaken_after_its_write_is_a_conflict(scanning: tuple[ApplyHarness, Scans]) -> None:
    """The scan that verifies a batch shows what another program wrote since."""
    harness, scans = scanning
    harness.want(*map(entry, MANY))
    changes = await harness.plan()
    scans.before = lambda count: harness.server.write("web", "k1", b"theirs") if count == 2 else None
    assert kinds(await harness.apply(changes)) == dict.fromkeys(MANY, "applied") | {"k1": "conflict"}
    assert harness.journal()["k1"] == "conflict"


@pytest.mark.parametrize("which", [1, 2])
async def test_without_a_scan_entries_are_read(scanning: tuple[ApplyHarness, Scans], which: int) -> None:
    """A scan that fails costs reads, before the writes or after them, and nothing else."""
    harness, scans = scanning
    harness.want(*map(entry, MANY))
    changes = await harness.plan()

    def fail(count: int) -> None:
        if count == which:
            raise TransientError("503")

    scans.before = fail
    assert set(kinds(await harness.apply(changes)).values()) == {"applied"}
    assert lookups(harness) == (2 * len(MANY) if which == 1 else len(MANY))


async def test_a_run_that_is_stopped_settles_what_it_wrote(scanning: tuple[ApplyHarness, Scans]) -> None:
    """What was written when kvsync is asked to stop is applied by the word of the store; the rest was not attempted."""
    harness, _ = scanning
    harness.want(*map(entry, MANY))
    found = kinds(await harness.apply(await harness.plan(), concurrency=1, stop=after(12)))
    written = {keys[0] for keys in writes_of(harness.server)}
    assert 0 < len(written) < len(MANY)
    assert found == {key: "applied" if key in written else "not-attempted" for key in MANY}
    assert {key for key, outcome in harness.journal().items() if outcome == "applied"} == written


async def test_a_write_that_is_done_does_not_fail_with_another_of_its_call(make: Callable[..., ApplyHarness]) -> None:
    """What the store has confirmed, and a scan is still to verify, is applied although the rest of the call cannot be read."""
    harness = make(compare_and_set=False, batch=2, read_batch=2)
    harness.store.scan = Scans(harness).scan  # type: ignore[attr-defined]
    harness.want(entry("a"), entry("b"))
    changes = await harness.plan()
    harness.server.fail_entry("b", WriteStatus.UNKNOWN, done=True)
    harness.server.before_change(lambda: harness.server.fail(AuthError("403"), on=["lookup"]))
    assert kinds(await harness.apply(changes)) == {"a": "applied", "b": "unknown"}
    assert harness.journal()["a"] == "applied"


async def test_a_lost_write_is_read_again_before_it_is_repeated(
    scanning: tuple[ApplyHarness, Scans], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scan of the batch is not enough to send a write again: another program may have written during the pause."""
    harness, _ = scanning
    await harness.settle(*(entry(key, "1") for key in MANY))
    harness.want(*(entry(key, "2") for key in MANY))
    changes = await harness.plan()
    sleep = harness.clock.sleep

    async def meanwhile(seconds: float) -> None:
        harness.server.write("web", MANY[0], b"theirs")
        await sleep(seconds)

    monkeypatch.setattr(harness.clock, "sleep", meanwhile)
    harness.server.fail(LostAnswer("no answer"), on=["change"])
    found = kinds(await harness.apply(changes, concurrency=1))
    assert found == dict.fromkeys(MANY, "applied") | {MANY[0]: "conflict"}
    assert harness.held(MANY[0]) == b"theirs"
