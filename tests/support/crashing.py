"""Kills applying processes at random moments: a program of its own, so that it can fork without anybody's threads.

    python -m tests.support.crashing FOLDER FIRST_SEED COUNT

copies the prepared FOLDER once a seed, starts an apply in the copy, kills it, runs it once more, and prints what it finds: one
JSON object a line.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from kvsync.app import open_workspace
from kvsync.model.plan import pending
from kvsync.stores.sqlite.store import SqliteStore
from kvsync.util.redaction import Redactor

NAMESPACES, ENTRIES = 6, 40
CONFIG = """\
version: 1
owner: team-a
state: ["state/*.yaml"]
policy: {prune: owned, guard: {max_delete_pct: 100, max_update_pct: 100}}
stores: {main: {type: sqlite, path: store.db}}
"""


def write_files(folder: Path, version: int) -> None:
    """Version 2 changes, drops, adds and moves about a quarter of the keys each."""
    (folder / "kvsync.yaml").write_text(CONFIG)
    (folder / "state").mkdir(exist_ok=True)
    for number in range(NAMESPACES):
        keys = [f"  {key}: {value}\n" for key, value in wanted(version).items()]
        moved = "moved: [{from: k01, to: renamed}]\n" if version == 2 else ""
        text = f"store: main\nnamespace: n{number}\nkeys:\n{''.join(keys)}{moved}"
        (folder / f"state/n{number}.yaml").write_text(text)


def wanted(version: int) -> dict[str, str]:
    """What each namespace should hold of ours."""
    if version == 1:
        return {f"k{number:02}": "one" for number in range(ENTRIES)}
    kept = {f"k{number:02}": "two" if number % 4 == 0 else "one" for number in range(ENTRIES) if number % 4 != 1}
    return kept | {f"new{number:02}": "two" for number in range(ENTRIES // 4)} | {"renamed": "one"}


def everywhere(version: int) -> dict[str, dict[str, str]]:
    """What the whole store should hold of ours."""
    return {f"n{number}": wanted(version) for number in range(NAMESPACES)}


def prepare(folder: Path) -> None:
    """Make version 1 real, put foreign entries next to it, and write the files of version 2."""
    write_files(folder, 1)
    asyncio.run(apply(folder))
    with closing(sqlite3.connect(folder / "store.db")) as connection, connection:
        for number in range(NAMESPACES):
            put = "INSERT INTO entries(namespace, key, value, owner, mark_fingerprint) VALUES (?, ?, ?, ?, ?)"
            connection.execute(put, (f"n{number}", "theirs", b"\x00\xff", None, None))
            connection.execute(put, (f"n{number}", "another's", b"x", "team-b", b"f" * 16))
    write_files(folder, 2)


async def apply(folder: Path, when_open: Callable[[], None] = lambda: None) -> None:
    """One run over everything."""
    async with open_workspace(folder / "kvsync.yaml", writing="apply", redactor=Redactor(), environ={}) as workspace:
        when_open()
        await workspace.apply(await workspace.plan(), command="apply")


def rows(folder: Path, where: str) -> list[Any]:
    """Entries of the store, in all their columns."""
    with closing(sqlite3.connect(folder / "store.db")) as connection:
        return connection.execute(f"SELECT * FROM entries WHERE {where} ORDER BY namespace, key").fetchall()


def values(folder: Path) -> dict[str, dict[str, str]]:
    """What the store holds of ours, by namespace."""
    with closing(sqlite3.connect(folder / "store.db")) as connection:
        found: dict[str, dict[str, str]] = {}
        for namespace, key, value in connection.execute(
            "SELECT namespace, key, value FROM entries WHERE owner = 'team-a'"
        ):
            found.setdefault(namespace, {})[key] = bytes(value).decode()
        return found


def kill_after(folder: Path, seconds: float | None) -> float:
    """Apply in a process of its own, and kill it that long after it opened; returns how long it lived from there."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            asyncio.run(apply(folder, lambda: os.write(writing, b".")))  # type: ignore[arg-type]
        finally:
            os._exit(0)
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    began = time.monotonic()
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return time.monotonic() - began


async def look(folder: Path) -> dict[str, Any]:
    """What is left to do, and what the journal tells."""
    async with open_workspace(folder / "kvsync.yaml", redactor=Redactor(), environ={}) as workspace:
        plan = await workspace.plan()
        runs = workspace.state.journal.runs(50)
        changes = [change for run in runs for change in workspace.state.journal.changes(run.id)]
    open_intents = sum(change.outcome is None for change in changes)
    statuses = [run.status.value for run in runs]
    return {"pending": pending(plan), "statuses": statuses, "changes": len(changes), "open": open_intents}


def crash(template: Path, seed: int, duration: float) -> dict[str, Any]:
    """One kill, and one run after it."""
    folder = template.with_name(f"{template.name}-{seed}")
    shutil.copytree(template, folder)
    theirs = rows(folder, "owner IS NOT 'team-a'")
    kill_after(folder, random.Random(seed).uniform(0, duration))
    was_done = values(folder) == everywhere(2)
    asyncio.run(apply(folder))
    found = asyncio.run(look(folder)) | {
        "seed": seed,
        "was_done": was_done,
        "converged": values(folder) == everywhere(2),
        "theirs_untouched": rows(folder, "owner IS NOT 'team-a'") == theirs and len(theirs) == 2 * NAMESPACES,
    }
    shutil.rmtree(folder)
    return found


def main() -> None:
    """See the module."""
    template, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    prepare(template)
    whole = template.with_name(f"{template.name}-whole")
    shutil.copytree(template, whole)
    duration = kill_after(whole, None)
    for seed in range(first, first + count):
        print(json.dumps(crash(template, seed, duration)), flush=True)


if __name__ == "__main__":
    # Many small batches, so that a kill finds a run between any two of them.
    SqliteStore.capabilities = replace(SqliteStore.capabilities, batch=10)
    main()
