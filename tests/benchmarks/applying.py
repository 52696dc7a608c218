"""Applying 10,000 creates to SQLite, against the barest way to get the same rows into a table."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import Cost, Figure, kvsync, python, run
from tests.benchmarks.repo import write_repo

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


def _apply(folder: Path) -> Cost:
    shutil.rmtree(folder / ".kvsync", ignore_errors=True)
    return run(kvsync("apply", "--yes", "-o", "json"), folder)


def _insert(folder: Path) -> Cost:
    (folder / "bare.db").unlink(missing_ok=True)
    return run(python(INSERT, ".kvsync/store.db", "bare.db"), folder)
