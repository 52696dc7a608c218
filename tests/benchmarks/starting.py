"""How long it takes to say the version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import Figure, best, kvsync, python


def measure(folder: Path) -> Iterator[Figure]:
    """Yield `kvsync --version` against a Python that does nothing, by CPU."""
    nothing = best(python("pass"), folder, 20)
    version = best(kvsync("--version"), folder, 20)
    detail = f"{version.cpu * 1000:.0f} ms against {nothing.cpu * 1000:.0f} ms of CPU"
    yield Figure("kvsync --version against python -c pass", version.cpu / nothing.cpu, 2.5, detail=detail)
