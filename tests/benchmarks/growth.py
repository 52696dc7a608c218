"""How the cost of an unchanged plan grows with entries and with targets.

`growth-large` is a part of its own: a million entries take minutes to apply, and some GiB of memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks.measure import NO_GOAL, Figure, best, kvsync, run
from tests.benchmarks.repo import write_repo

ENTRIES, MANY_ENTRIES = (1_000, 10_000, 100_000), (1_000_000,)
TARGETS, MANY_TARGETS = (1, 100, 4_000), (10_000,)
GOALS = {4_000: (1.0, 70.0)}
"""CPU seconds and MiB by the number of targets."""


def measure(folder: Path) -> Iterator[Figure]:
    """Yield CPU and memory of a warm plan, for each size."""
    yield from _sizes(folder, ENTRIES, TARGETS)


def measure_large(folder: Path) -> Iterator[Figure]:
    """Yield the same for the largest sizes."""
    yield from _sizes(folder, MANY_ENTRIES, MANY_TARGETS)


def _sizes(folder: Path, entries: Sequence[int], targets: Sequence[int]) -> Iterator[Figure]:
    for count in entries:
        yield from _warm(folder / f"entries-{count}", f"{count:,} entries", max(1, count // 100), 100)
    for count in targets:
        goals = GOALS.get(count, (NO_GOAL, NO_GOAL))
        name = f"{count:,} {'target' if count == 1 else 'targets'} of 3 entries"
        yield from _warm(folder / f"targets-{count}", name, count, 3, count, goals)


def _warm(
    folder: Path, name: str, files: int, each: int, targets: int = 20, goals: tuple[float, float] = (NO_GOAL, NO_GOAL)
) -> Iterator[Figure]:
    write_repo(folder, files=files, entries_each=each, namespaces=targets)
    run(kvsync("apply", "--yes"), folder)
    warm = best(kvsync("plan", "-o", "json"), folder)
    yield Figure(f"{name}, unchanged: CPU", warm.cpu, goals[0], " s")
    yield Figure(f"{name}, unchanged: peak memory", warm.rss, goals[1], " MiB")
