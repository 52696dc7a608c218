"""Planning 100,000 entries in 1,000 files against an equal SQLite store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import Figure, in_turns, kvsync, python, run
from tests.benchmarks.repo import write_repo

LOAD = """
import sys, yaml
from pathlib import Path
for file in sorted(Path(sys.argv[1]).glob("*.yaml")):
    with file.open() as stream:
        yaml.load(stream, Loader=yaml.CSafeLoader)
"""
COLD = "rm -f .kvsync/cache.db* && exec {} plan -o json"


def measure(folder: Path) -> Iterator[Figure]:
    """Yield CPU and memory of a cold and of a warm plan, against PyYAML reading the same files."""
    write_repo(folder, files=1000, entries_each=100)
    run(kvsync("apply", "--yes"), folder)
    commands = [python(LOAD, "state"), ["sh", "-c", COLD.format(kvsync()[0])], kvsync("plan", "-o", "json")]
    reading, cold, warm = in_turns(commands, folder)
    base = f"against {reading.cpu:.2f} s of CPU"
    yield Figure("cold plan against yaml.load", cold.cpu / reading.cpu, 0.7, detail=f"{cold.cpu:.2f} s {base}")
    yield Figure("cold plan, peak memory", cold.rss, 250, " MiB")
    yield Figure("warm plan against yaml.load", warm.cpu / reading.cpu, 0.1, detail=f"{warm.cpu:.2f} s {base}")
    yield Figure("warm plan, peak memory", warm.rss, 250, " MiB")
