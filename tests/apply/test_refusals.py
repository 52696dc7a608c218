from __future__ import annotations

from collections.abc import Callable

import pytest

from kvsync.errors import BatchRefused
from kvsync.stores.base import WriteStatus
from tests.apply.harness import ApplyHarness, entry, kinds, writes_of

Make = Callable[..., ApplyHarness]


@pytest.mark.parametrize("bad", [("00",), ("07",), ("31",), ("03", "04", "29")])
async def test_a_refused_call_is_split_until_the_bad_entry_is_alone(
    harness: ApplyHarness, bad: tuple[str, ...]
) -> None:
    """The bad entries fail and are quarantined with the store's reason; all others are applied, in few calls."""
    harness.want(*(entry(f"{n:02}") for n in range(32)))
    changes = await harness.plan()
    harness.server.refuse_batches_with(*bad)
    report = await harness.apply(changes)
    found = kinds(report)
    assert {key for key, kind in found.items() if kind == "failed"} == set(bad)
    assert list(found.values()).count("applied") == 32 - len(bad)
    assert {one.change.identity.key for one in report.quarantined} == set(bad)
    assert all("does not take it" in one.error for one in report.quarantined)
    assert len(writes_of(harness.server)) <= 1 + 2 * 5 * len(bad)
    assert report.store_error is None


async def test_a_call_refused_for_its_size_is_split(harness: ApplyHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is too large as a whole goes through in parts, and nothing is quarantined."""
    write = harness.store.write

    async def small_only(namespace: str, writes: object) -> object:
        if len(writes) > 3:  # type: ignore[arg-type]  # a sequence of writes
            raise BatchRefused("413: request too large")
        return await write(namespace, writes)  # type: ignore[arg-type]  # as above

    monkeypatch.setattr(harness.store, "write", small_only)
    harness.want(*(entry(f"{n:02}") for n in range(20)))
    report = await harness.apply()
    assert set(kinds(report).values()) == {"applied"}
    assert report.quarantined == ()


async def test_a_rejected_entry_fails_and_is_quarantined(harness: ApplyHarness) -> None:
    """What the store rejects for what it is fails with its reason; the rest of the call is done."""
    harness.want(entry("a"), entry("b"))
    changes = await harness.plan()
    harness.server.fail_entry("b", WriteStatus.REJECTED, "the schema does not allow it")
    report = await harness.apply(changes)
    assert kinds(report) == {"a": "applied", "b": "failed"}
    assert [(one.change.identity.key, one.error) for one in report.quarantined] == [
        ("b", "the schema does not allow it")
    ]


async def test_a_locked_entry_is_refused(harness: ApplyHarness) -> None:
    """An entry that is locked in the store is `refused`, not failed, and not quarantined."""
    await harness.settle(entry("a", "1"), entry("b", "1"))
    harness.want(entry("a", "2"), entry("b", "2"))
    changes = await harness.plan()
    harness.server.lock("web", "b")
    report = await harness.apply(changes)
    assert kinds(report) == {"a": "applied", "b": "refused"}
    assert report.quarantined == ()


async def test_throttling_in_the_middle_of_a_split_loses_nothing(harness: ApplyHarness) -> None:
    """Faults that come together are dealt with one by one; every change has one outcome."""
    harness.want(*(entry(f"{n:02}") for n in range(16)))
    changes = await harness.plan()
    harness.server.refuse_batches_with("05")
    harness.server.before_change(lambda: harness.server.throttle(3.0, times=2))
    report = await harness.apply(changes)
    assert list(kinds(report).values()).count("applied") == 15
    assert kinds(report)["05"] == "failed"
