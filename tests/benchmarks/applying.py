"""Applying 10,000 creates to SQLite, against inserting the same rows in one transaction; and the memory of a change."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import Cost, Figure, kvsync, python, run
from tests.benchmarks.repo import write_repo

CHANGES = 100_000

INSERT = """
import sqlite3, sys
source = sqlite3.connect(sys.argv[1])
columns = "namespace, key, label, content_type, tags, expires_at, owner, fingerprint, version, value"
rows = source.execute(f"SELECT {columns} FROM entries").fetchall()
target = sqlite3.connect(sys.argv[2], isolation_level=None)
target.execute(f"CREATE TABLE entries ({columns}, UNIQUE (namespace, key, label))")
target.execute("BEGIN")
target.executemany(f"INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
target.execute("COMMIT")
"""


def measure(folder: Path) -> Iterator[Figure]:
    """Yield the whole command against a whole Python process that inserts the same rows in one transaction."""
    write_repo(folder, files=100, entries_each=100)
    rounds = [(_apply(folder), _insert(folder)) for _ in range(3)]
    applying, inserting = (min(costs, key=lambda cost: cost.cpu) for costs in zip(*rounds, strict=True))
    detail = f"{applying.cpu:.2f} s against {inserting.cpu:.2f} s of CPU, both whole processes"
    yield Figure("apply of 10,000 creates against executemany", applying.cpu / inserting.cpu, 6, detail=detail)
    yield _memory_of_a_change(folder / "changes")


def _memory_of_a_change(folder: Path) -> Figure:
    """What a plan of creates takes at most beyond the same plan in sync, for each of them."""
    write_repo(folder, files=CHANGES // 100, entries_each=100)
    changed = run(kvsync("plan", "-o", "json"), folder, good=(0, 2)).rss
    run(kvsync("apply", "--yes", "-o", "json"), folder)
    unchanged = run(kvsync("plan", "-o", "json"), folder).rss
    detail = f"plans of {CHANGES:,} entries: {changed:.0f} MiB with creates, {unchanged:.0f} MiB in sync"
    return Figure("memory of a change", (changed - unchanged) * 1024 / CHANGES, 1.2, " KiB", detail)


def _apply(folder: Path) -> Cost:
    shutil.rmtree(folder / ".kvsync", ignore_errors=True)
    return run(kvsync("apply", "--yes", "-o", "json"), folder)


def _insert(folder: Path) -> Cost:
    (folder / "bare.db").unlink(missing_ok=True)
    return run(python(INSERT, ".kvsync/store.db", "bare.db"), folder)
