"""How long a command takes to start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import Figure, in_turns, kvsync, python, run
from tests.benchmarks.repo import write_repo


def measure(folder: Path) -> Iterator[Figure]:
    """Yield commands that do little against a Python that does nothing, by CPU."""
    write_repo(folder, files=10, entries_each=100)
    run(kvsync("apply", "--yes"), folder)
    commands = [("--version", 2.5), ("--help", 10), ("validate", 10), ("status", 10), ("plan", 10)]
    nothing, *costs = in_turns([python("pass"), *(kvsync(name) for name, _ in commands)], folder, 20)
    for (name, goal), cost in zip(commands, costs, strict=True):
        what = "plan of 1,000 unchanged entries" if name == "plan" else f"kvsync {name}"
        detail = f"{cost.cpu * 1000:.0f} ms against {nothing.cpu * 1000:.0f} ms of CPU"
        yield Figure(f"{what} against python -c pass", cost.cpu / nothing.cpu, goal, detail=detail)
