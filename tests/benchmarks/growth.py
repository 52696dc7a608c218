"""How the cost of an unchanged plan grows with entries and with targets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import NO_GOAL, Figure, best, kvsync, run
from tests.benchmarks.repo import write_repo

ENTRIES = (1_000, 10_000, 100_000, 1_000_000)
TARGETS = (1, 100, 4_000, 10_000)
GOALS = {4_000: (1.0, 70.0)}
"""CPU seconds and MiB by the number of targets."""


def measure(folder: Path) -> Iterator[Figure]:
    """Yield CPU and memory of a warm plan, for each size."""
    for count in ENTRIES:
        yield from _warm(folder / f"entries-{count}", f"{count:,} entries", max(1, count // 100), 100)
    for count in TARGETS:
        goals = GOALS.get(count, (NO_GOAL, NO_GOAL))
        yield from _warm(folder / f"targets-{count}", f"{count:,} targets of 3 entries", count, 3, count, goals)


def _warm(
    folder: Path, name: str, files: int, each: int, targets: int = 20, goals: tuple[float, float] = (NO_GOAL, NO_GOAL)
) -> Iterator[Figure]:
    write_repo(folder, files=files, entries_each=each, namespaces=targets)
    run(kvsync("apply", "--yes"), folder)
    warm = best(kvsync("plan", "-o", "json"), folder)
    yield Figure(f"{name}, unchanged: CPU", warm.cpu, goals[0], " s")
    yield Figure(f"{name}, unchanged: peak memory", warm.rss, goals[1], " MiB")
