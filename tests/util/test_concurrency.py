"""Several things at once, some at a time."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from kvsync.util.concurrency import gather_by_group


async def test_no_group_has_more_in_work_than_its_limit() -> None:
    """Each group works on as many items at a time as its limit says, and none waits for another group."""
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def work(item: str) -> str:
        running[item[0]] += 1
        most[item[0]] = max(most[item[0]], running[item[0]])
        await asyncio.sleep(0)
        running[item[0]] -= 1
        return item.upper()

    items = [f"{name}{number}" for number in range(9) for name in "ab"]
    limits = {"a": 2, "b": 5}
    done = await gather_by_group(items, work, group=lambda item: item[0], limit=limits.__getitem__)
    assert done == [item.upper() for item in items]
    assert most == limits


async def test_a_failure_keeps_no_other_from_its_turn() -> None:
    """All items are worked on; the error that is raised is that of the first item that failed."""
    seen: list[int] = []

    async def work(item: int) -> int:
        seen.append(item)
        if item in (2, 4):
            raise ValueError(item)
        return item

    with pytest.raises(ValueError, match="2"):
        await gather_by_group(range(6), work, group=lambda _item: "", limit=lambda _group: 2)
    assert sorted(seen) == [0, 1, 2, 3, 4, 5]


async def test_cancelling_ends_what_runs() -> None:
    """A cancelled caller leaves no work behind, and begins none."""
    seen: list[int] = []

    async def work(item: int) -> None:
        seen.append(item)
        await asyncio.sleep(60)

    doing = asyncio.ensure_future(gather_by_group(range(6), work, group=lambda _item: "", limit=lambda _group: 2))
    await asyncio.sleep(0.01)
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doing
    assert seen == [0, 1]
    assert len(asyncio.all_tasks()) == 1
