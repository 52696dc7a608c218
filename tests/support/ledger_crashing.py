"""Kill a pass over a store that keeps the ledger, right before or after any call that reaches the server; as a program of
its own.
    python -m tests.support.ledger_crashing FOLDER KIND

prints one JSON line for each call and side of it: what two machines make of it afterwards.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import pickle
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.machines import Machine, keys_there
from tests.support.memory_repository import MemoryRepository, rows

BEFORE = {"a": 1, "b": 1, "c": 1, "secret": "{value: one, sensitive: true}", "mortal": "{value: x, ttl: 7d}"}
AFTER = {"a": 2, "b": 1, "d": 1, "secret": "{value: two, sensitive: true}", "mortal": "{value: x, ttl: 7d}"}
LATER = {"b": 1, "d": 3, "secret": "{value: two, sensitive: true}", "mortal": "{value: x, ttl: 7d}"}
VALUES = {"a": "2", "b": "1", "d": "1", "secret": "two", "mortal": "x", "theirs": "x"}
VALUES_LATER = {"b": "1", "d": "3", "secret": "two", "mortal": "x", "theirs": "x"}
SURVIVORS = ("held", "ledgers", "_versions")
METHODS = ("listing", "lookup", "change", "ledger", "put_ledger")


def pass_until(repo: MemoryRepository, machine: Machine, file: Path, count: int, *, after: bool) -> bool:
    """Apply in a process that is killed at its call number `count`, after or before the server has done it; what the server
    then holds is in the file. Returns whether there were so many calls."""
    child = os.fork()
    if not child:
        calls = 0

        def counted(method: str) -> Any:
            def call(*arguments: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == count and not after:
                    os.kill(os.getpid(), signal.SIGKILL)
                answer = getattr(type(repo.server), method)(repo.server, *arguments)
                file.write_bytes(pickle.dumps({name: getattr(repo.server, name) for name in SURVIVORS}))
                if calls == count:
                    os.kill(os.getpid(), signal.SIGKILL)
                return answer

            return call

        for method in METHODS:
            setattr(repo.server, method, counted(method))
        asyncio.run(machine.apply())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if file.exists():
        for name, value in pickle.loads(file.read_bytes()).items():
            setattr(repo.server, name, value)
    return os.WIFSIGNALED(status)


async def crash(folder: Path, kind: str, count: int, *, after: bool) -> dict[str, Any] | None:
    """One kill, and what becomes of it; None when the pass ended before that call. At every third call the machine does not
    come back, and the files ask for something else by then; otherwise both machines go on, in either order."""
    patch = pytest.MonkeyPatch()
    repo = MemoryRepository(folder, patch, kind, "{adopt: never, guard: {max_delete_pct: 100, max_update_pct: 100}}")
    one, two = Machine(repo, "one"), Machine(repo, "two")
    repo.want(BEFORE)
    await one.apply()
    await two.apply()
    repo.server.write("web", "theirs", b"x", expires_at=repo.clock.now() + 7_776_000)
    repo.want(AFTER)
    was_killed = await asyncio.to_thread(pass_until, repo, one, folder / "server", count, after=after)
    machines, values = [one, two], VALUES
    if count % 3 == 0:
        repo.want(LATER)
        machines, values = [two], VALUES_LATER
    for machine in reversed(machines) if count % 2 == after else machines:
        await machine.apply()
    deleted = {"a", "c"} & repo.values().keys() - values.keys()
    await machines[0].apply()
    plans = [await machine.plan() for machine in machines]
    patch.undo()
    if not was_killed:
        return None
    return {
        "count": count,
        "after": after,
        "values": repo.values() == values,
        "still_there": sorted(deleted),
        "ledger": keys_there(repo) == values.keys() - {"theirs"},
        "pending": [row for plan in plans for row in rows(plan)],
        "refused": sum(len(plan.refused) for plan in plans),
    }


async def main(folder: Path, kind: str) -> None:
    """See the module."""
    for after in (False, True):
        for count in itertools.count(1):
            with tempfile.TemporaryDirectory(dir=folder) as place:
                found = await crash(Path(place), kind, count, after=after)
            if found is None:
                break
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
