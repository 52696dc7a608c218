"""The daemon: the time from an edit of a file to the write in the store, and the cost of waiting."""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import NO_GOAL, Figure, kvsync
from tests.benchmarks.repo import write_repo

EDITS = 30
IDLE_SECONDS = 20


def measure(folder: Path) -> Iterator[Figure]:
    """Yield the latency of edits of one file of 1,000, and memory and CPU when idle."""
    files = write_repo(folder, files=1000, entries_each=10)
    process = subprocess.Popen(kvsync("--log-level", "error", "run"), cwd=folder)
    try:
        _wait_for(folder, "svc0999.feature009.setting", None)
        time.sleep(3)
        seconds = [_edit(folder, files[number * 33], number) for number in range(EDITS)]
        yield Figure("edit to applied, median", statistics.median(seconds) * 1000, 150, " ms")
        yield Figure("edit to applied, p99", sorted(seconds)[-1] * 1000, 500, " ms", f"the slowest of {EDITS}")
        yield from _idle(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(15)


def _edit(folder: Path, file: Path, number: int) -> float:
    """Change the last entry of a file as an editor does, and wait until the store has it."""
    lines = file.read_text().splitlines()
    key = lines[-1].split(":")[0].strip()
    lines[-1] = f"  {key}: edited {number}"
    scratch = file.with_suffix(".tmp")
    scratch.write_text("\n".join(lines) + "\n")
    started = time.monotonic()
    scratch.rename(file)
    return _wait_for(folder, key, f"edited {number}") - started


def _wait_for(folder: Path, key: str, text: str | None) -> float:
    """Wait for an entry, with this value if one is given; returns the moment."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with sqlite3.connect(f"file:{folder / '.kvsync' / 'store.db'}?mode=ro", uri=True) as store:
                row = store.execute("SELECT CAST(value AS TEXT) FROM entries WHERE key = ?", (key,)).fetchone()
        except sqlite3.OperationalError:
            row = None
        if row is not None and text in (None, row[0]):
            return time.monotonic()
        time.sleep(0.002)
    raise TimeoutError(key)


def _idle(pid: int) -> Iterator[Figure]:
    before = _cpu(pid)
    time.sleep(IDLE_SECONDS)
    share = (_cpu(pid) - before) / IDLE_SECONDS
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    rss = next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
    yield Figure("idle daemon, memory", rss, NO_GOAL, " MiB")
    yield Figure("idle daemon, CPU", share * 1000, NO_GOAL, " ms a second")


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
