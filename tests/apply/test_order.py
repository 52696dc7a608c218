"""`after: [keys]` and `after: all`: the order of writes, and what is not written when something before it was not."""

from __future__ import annotations

import pytest

from kvsync.model.change import OutcomeKind
from kvsync.stores.base import WriteStatus
from tests.apply.harness import ApplyHarness, entry, kinds, writes_of


async def test_the_last_entry_is_written_after_all_writes_and_deletes(harness: ApplyHarness) -> None:
    """A program that watches `sentinel` sees everything else in place when it changes."""
    await harness.settle(entry("old"), entry("a", "1"), entry("sentinel", "1", after_all=True))
    harness.want(entry("a", "2"), entry("z", "2"), entry("sentinel", "2", after_all=True))
    assert set(kinds(await harness.apply()).values()) == {"applied"}
    assert writes_of(harness.server) == [("a", "z"), ("old",), ("sentinel",)]


async def test_entries_follow_the_keys_that_they_name(harness: ApplyHarness) -> None:
    """Chains of any length are written link by link, and what names nothing goes with the first."""
    harness.want(entry("a", after=("b", "c")), entry("b", after=("c",)), entry("c"), entry("d"))
    assert set(kinds(await harness.apply()).values()) == {"applied"}
    assert [set(keys) for keys in writes_of(harness.server)] == [{"c", "d"}, {"b"}, {"a"}]


@pytest.mark.parametrize("refused", ["a", "old"])
async def test_the_last_entry_is_skipped_when_anything_else_failed(harness: ApplyHarness, refused: str) -> None:
    """A write or a delete that the store rejects leaves the sentinel as it was; its outcome says which one it was."""
    await harness.settle(entry("old"), entry("a", "1"), entry("sentinel", "1", after_all=True))
    harness.want(entry("a", "2"), entry("sentinel", "2", after_all=True))
    harness.server.fail_entry(refused, WriteStatus.REJECTED)
    report = await harness.apply()
    assert kinds(report)["sentinel"] == "skipped"
    assert harness.held("sentinel") == b"1"
    assert [refused in str(one.error) for one in report.outcomes if one.kind is OutcomeKind.SKIPPED] == [True]


async def test_what_follows_a_failed_entry_is_skipped_and_nothing_else(harness: ApplyHarness) -> None:
    """A failure holds back those that wait for it, directly or through others."""
    harness.want(entry("a"), entry("b", after=("a",)), entry("c", after=("b",)), entry("d", after=("e",)), entry("e"))
    harness.server.fail_entry("a", WriteStatus.REJECTED)
    assert kinds(await harness.apply()) == {
        "a": "failed", "b": "skipped", "c": "skipped", "d": "applied", "e": "applied",
    }  # fmt: skip


async def test_a_failure_of_the_last_entry_is_its_own(harness: ApplyHarness) -> None:
    """The outcome of a rejected sentinel is `failed`, like that of any other entry."""
    harness.want(entry("a"), entry("sentinel", after_all=True))
    harness.server.fail_entry("sentinel", WriteStatus.REJECTED)
    assert kinds(await harness.apply()) == {"a": "applied", "sentinel": "failed"}


async def test_a_renewal_waits_for_nothing(harness: ApplyHarness) -> None:
    """A lifetime must not run out because another entry cannot be written."""
    await harness.settle(entry("a", "1"), entry("sentinel", "1", ttl=90, after_all=True))
    harness.clock.advance(70)
    harness.want(entry("a", "2"), entry("sentinel", "1", ttl=90, after_all=True))
    harness.server.fail_entry("a", WriteStatus.REJECTED)
    assert kinds(await harness.apply()) == {"a": "failed", "sentinel": "applied"}
