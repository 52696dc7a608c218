"""How many passes run at the same time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from kvsync.daemon.pass_slots import PASSES_PER_STORE, PassSlots
from tests.daemon.support import turns


@pytest.fixture(autouse=True)
def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The rests that were taken, which take no time here."""
    found: list[float] = []
    sleep = asyncio.sleep

    async def rest(seconds: float) -> None:
        found.append(seconds)
        await sleep(0)

    monkeypatch.setattr("kvsync.daemon.pass_slots.asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": rest}))
    return found


class Passes:
    """Passes of two stores that end once `over` is set, with a state that takes `delay` seconds to answer."""

    def __init__(self, delay: float) -> None:
        self.delay, self.running, self.most = delay, 0, 0
        self.over = asyncio.Event()
        slots = PassSlots(lambda: self.delay)
        self.of_stores = [slots.of_store(store) for store in ("one", "two")]

    async def run(self, store: int) -> None:
        async with self.of_stores[store]:
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await self.over.wait()
            finally:
                self.running -= 1

    def begin(self, count: int) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self.run(store)) for store in (0, 1) for _ in range(count)]


@pytest.mark.parametrize(
    ("delay", "most"), [(0.0, 2 * PASSES_PER_STORE), (0.001, 2 * PASSES_PER_STORE), (0.1, 3), (0.3, 1), (60.0, 1)]
)
async def test_a_slow_state_has_few_passes_at_a_time(delay: float, most: int) -> None:
    """Each of them blocks the event loop while it calls the state. All passes are done in the end."""
    passes = Passes(delay)
    tasks = passes.begin(20)
    await turns()
    assert passes.running == most
    passes.over.set()
    await asyncio.gather(*tasks)
    assert (passes.running, passes.most) == (0, most)


async def test_the_loop_has_its_turn_before_each_pass(rests: list[float]) -> None:
    """Passes that fail before they wait for anything do not follow each other at once, and not in one turn."""
    passes = Passes(0.3)
    passes.over.set()
    await asyncio.gather(*passes.begin(3))
    assert rests == [0.3] * 6


async def test_passes_go_on_side_by_side_once_the_state_is_fast_again() -> None:
    passes = Passes(60.0)
    tasks = passes.begin(5)
    await turns()
    assert passes.running == 1
    passes.delay = 0.0
    tasks[0].cancel()
    await turns()
    assert passes.running == len(tasks) - 1
    passes.over.set()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_pass_that_is_cancelled_takes_no_slot() -> None:
    """Neither one that runs, nor one that waits."""
    passes = Passes(60.0)
    tasks = passes.begin(5)
    await turns()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    last = passes.begin(PASSES_PER_STORE)
    passes.delay = 0.0
    await turns()
    assert passes.running == 2 * PASSES_PER_STORE
    passes.over.set()
    await asyncio.gather(*last)
