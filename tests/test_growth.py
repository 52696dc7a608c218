"""Twice as much costs twice as much: the work of a pass grows in proportion to what there is, whatever there is more of.

Counted are the lines of kvsync that run, not seconds, so that a busy machine changes nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tracemalloc
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import kvsync
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.daemon.loop import Daemon
from kvsync.daemon.once import run_once
from kvsync.daemon.parts import DaemonOptions
from kvsync.daemon.ports import PassRequest
from kvsync.model.entry import Identity, Target
from kvsync.model.key_format import KeyFormat
from kvsync.stores.memory.store import MemoryStore
from kvsync.stores.registry import BUILTIN
from kvsync.util.clock import Clock
from tests.daemon.support import QUIET, FakeReconciler, FakeRecorder, until
from tests.support.memory_repository import MemoryRepository, is_clean, outcomes
from tests.support.stores import KINDS

MOST = 2.3
"""What twice as much may cost; twice, and a bit for what grows with the logarithm."""

CODE = os.path.dirname(kvsync.__file__)  # noqa: PTH120 - compared with what frames say
STAND_INS = tuple(os.path.join(CODE, *path) for path in (("testing",), ("stores", "memory.py"), ("stores", "held.py")))  # noqa: PTH118
"""What stands in for a remote may cost what it likes."""

COMPARISONS = ("<string>", __file__)
"""Where dataclasses are compared, and identities below: what a list compares in C is counted by it."""

LATE = "memory-edge"


class NestedStore(MemoryStore):
    """Namespaces are prefixes of keys, so that one can be a part of another."""

    def nested_namespace(self, namespace: str, identity: Identity, others: Collection[str]) -> str | None:
        return KeyFormat("{namespace}:{key}").nested_namespace(namespace, identity, others)


class FrozenClock(Clock):
    """Time goes on, but for what is used again within a second."""

    def monotonic(self) -> float:
        return 0.0


class LineCounter:
    """How many lines of kvsync ran."""

    count = 0

    def enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Count a call, and the lines of a function that is kvsync's."""
        file = frame.f_code.co_filename
        if not (file.startswith(CODE) or file in COMPARISONS) or file.startswith(STAND_INS):
            return None
        return self.step(frame, event, argument)

    def step(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Count a line; each turn of a loop is one, also where all of the loop is in one line."""
        self.count += 1
        return self.step


@contextmanager
def counting() -> Iterator[LineCounter]:
    """Count the lines that run inside."""
    lines, before = LineCounter(), sys.gettrace()
    sys.settrace(lines.enter)
    try:
        yield lines
    finally:
        sys.settrace(before)


def many_targets(repo: MemoryRepository, number: int) -> None:
    for index in range(number):
        repo.state(f"store: main\nnamespace: n{index}\nkeys: {{a: 1}}\n", f"n{index}.yaml")


async def plan_targets(repo: MemoryRepository, number: int) -> int:
    many_targets(repo, number)
    with counting() as lines:
        assert len((await repo.plan_all()).targets) == number
    return lines.count


async def apply_targets(repo: MemoryRepository, number: int) -> int:
    many_targets(repo, number)
    with counting() as lines:
        assert is_clean(await repo.apply())
    return lines.count


async def pass_over_targets(repo: MemoryRepository, number: int) -> int:
    """All passes of a daemon, of which each is one target's."""
    many_targets(repo, number)
    async with repo.open("run", clock=Clock()) as workspace:  # runs are named by time, which must go on
        reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
        with counting() as lines:
            result = await run_once(
                reconciler, workspace.state.passes, workspace.config.run, DaemonOptions(clock=workspace.clock)
            )
    assert sum(one.changes["applied"] for one in result.results) == number
    return lines.count


async def pass_over_waves(repo: MemoryRepository, number: int) -> int:
    """All passes of a daemon where half of the targets wait for the other half."""
    repo.configure(more="waves: [{targets: ['main/n*[13579]']}]")
    many_targets(repo, number)
    async with repo.open("run", clock=FrozenClock()) as workspace:
        reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
        options = DaemonOptions(clock=workspace.clock)
        with counting() as lines:
            runs = [await run_once(reconciler, workspace.state.passes, workspace.config.run, options) for _ in range(2)]
    assert sum(one.changes["applied"] for run in runs for one in run.results) == number
    return lines.count


async def start_daemon(repo: MemoryRepository, number: int) -> int:
    """From the start of a daemon until each target had its first pass."""
    reconciler = FakeReconciler(Target("main", f"n{index}") for index in range(number))
    daemon = Daemon(reconciler, FakeRecorder(), QUIET)
    with counting() as lines:
        running = asyncio.ensure_future(daemon.run())
        await until(lambda: len(reconciler.finished) == number)
        os.kill(os.getpid(), signal.SIGTERM)
        await running
    return lines.count


async def look_at_pauses(repo: MemoryRepository, number: int) -> int:
    async with repo.open("run") as workspace:
        for index in range(number):
            workspace.state.pauses.pause("main", f"n{index}", None, 0)
        with counting() as lines:
            assert all(workspace.state.pauses.is_paused(Target("main", f"n{index}")) for index in range(number))
    return lines.count


async def plan_late_entries(repo: MemoryRepository, number: int) -> int:
    """Entries that change again while the listing still shows what they were before the last time."""
    keys = [f"k{index}" for index in range(number)]
    await repo.settle(dict.fromkeys(keys, 1))
    repo.server.list_late(KINDS[LATE].capabilities.settle)
    repo.want(dict.fromkeys(keys, 2))
    await repo.apply(approvals=[(await repo.plan_all()).digest])
    repo.want(dict.fromkeys(keys, 3))
    with counting() as lines:
        assert len((await repo.plan()).changes) == number
    return lines.count


async def plan_moves(repo: MemoryRepository, number: int) -> int:
    """Entries that are gone from the files, each for a new name."""
    await repo.settle({f"old{index}": index for index in range(number)})
    moved = "".join(f"  - {{from: old{index}, to: new{index}}}\n" for index in range(number))
    repo.want({f"new{index}": index for index in range(number)}, f"moved:\n{moved}")
    with counting() as lines:
        assert len((await repo.plan()).changes) == 2 * number
    return lines.count


async def apply_conflicts(repo: MemoryRepository, number: int) -> int:
    """Updates that another writer was quicker with."""
    keys = [f"k{index}" for index in range(number)]
    await repo.settle(dict.fromkeys(keys, 1))
    repo.want(dict.fromkeys(keys, 2))
    async with repo.open() as workspace:
        plan = await workspace.plan()
        for key in keys:
            repo.server.write("web", key, b"theirs")
        with counting() as lines:
            report = await workspace.apply(plan, command="test", approvals=[plan.digest])
    assert set(outcomes(report).values()) == {"conflict"}
    return lines.count


async def load_documents(repo: MemoryRepository, number: int) -> int:
    repo.state("".join(f"---\nstore: main\nnamespace: n{index}\nkeys: {{a: 1}}\n" for index in range(number)))
    return await load(repo, problems=0)


async def load_broken_documents(repo: MemoryRepository, number: int) -> int:
    repo.state("".join(f"---\nstore: main\nnamespace: n{index}\nkeys: {{a: [1]}}\n" for index in range(number)))
    return await load(repo, problems=number)


async def load_files_without_names(repo: MemoryRepository, number: int) -> int:
    """Broken files, each of which holds all targets that it may name."""
    repo.configure(more="authors: {targets: [{path: 'state/**'}]}\n")
    many_targets(repo, number)
    for index in range(number):
        repo.state("keys: {a: 1}\n", f"broken{index}.yaml")
    return await load(repo, problems=2 * number)


async def load_overlaid_documents(repo: MemoryRepository, number: int) -> int:
    for file, value in (("web.yaml", 1), ("web.prod.yaml", 2)):
        documents = (f"---\nstore: main\nnamespace: n{index}\nkeys: {{a: {value}}}\n" for index in range(number))
        repo.state("".join(documents), file)
    repo.configure(more="environments: [prod]\nenvironment: prod\n")
    return await load(repo, problems=0)


async def load(repo: MemoryRepository, problems: int) -> int:
    async with repo.open(None) as workspace:
        with counting() as lines:
            assert len(workspace.load().problems) == problems
    return lines.count


async def plan_namespaces(repo: MemoryRepository, number: int) -> int:
    """Namespaces of a store in which each could be a part of another."""
    repo.configure()
    many_targets(repo, number)
    with counting() as lines:
        assert len((await repo.plan_all()).targets) == number
    return lines.count


Cost = Callable[[MemoryRepository, int], Awaitable[int]]

COSTS: dict[str, tuple[Cost, str, int]] = {
    "targets planned": (plan_targets, "memory", 50),
    "targets applied": (apply_targets, "memory", 50),
    "targets passed over": (pass_over_targets, "memory", 50),
    "targets of waves": (pass_over_waves, "memory", 50),
    "targets of a daemon": (start_daemon, "memory", 50),
    "targets paused": (look_at_pauses, "memory", 50),
    "entries": (plan_late_entries, LATE, 150),
    "moves": (plan_moves, "memory", 50),
    "conflicts": (apply_conflicts, "memory", 150),
    "documents": (load_documents, "memory", 50),
    "documents with problems": (load_broken_documents, "memory", 50),
    "files without names": (load_files_without_names, "memory", 50),
    "documents with overlays": (load_overlaid_documents, "memory", 50),
    "namespaces": (plan_namespaces, "memory-nested", 50),
}
"""What grows: the work, the kind of store, and how much there is of it at first."""


@pytest.fixture
def repos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], MemoryRepository]:
    monkeypatch.setitem(BUILTIN, "memory-nested", f"{__name__}:NestedStore")
    monkeypatch.setattr(Identity, "__eq__", lambda one, other: tuple.__eq__(one, other))
    monkeypatch.setattr(Identity, "__ne__", lambda one, other: tuple.__ne__(one, other))

    def repo(kind: str) -> MemoryRepository:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return MemoryRepository(folder, monkeypatch, kind)

    return repo


@pytest.mark.parametrize("name", COSTS)
async def test_twice_as_much_costs_twice_as_much(repos: Callable[[str], MemoryRepository], name: str) -> None:
    """Twice the targets, entries, moves, conflicts, documents or namespaces take at most 2.3 times the lines."""
    cost, kind, number = COSTS[name]
    once, twice = await cost(repos(kind), number), await cost(repos(kind), 2 * number)
    assert twice <= MOST * once, f"{number}: {once:,} lines; {2 * number}: {twice:,} lines, {twice / once:.2f} times"


async def test_memory_grows_with_the_targets(repos: Callable[[str], MemoryRepository]) -> None:
    """Twice the targets take at most 2.3 times the memory: no target holds on to what it knows of all others."""

    async def peak(number: int) -> int:
        repo = repos("memory")
        many_targets(repo, number)
        async with repo.open(None) as workspace:
            loaded = workspace.load()
            tracemalloc.start()
            try:
                await workspace.plan(loaded=loaded)
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    once, twice = await peak(200), await peak(400)
    assert twice <= MOST * once, f"{once:,} bytes, then {twice:,} bytes, {twice / once:.2f} times"


async def test_what_is_done_for_each_entry_is_not_done_in_the_event_loop(
    repos: Callable[[str], MemoryRepository],
) -> None:
    """A pass over thousands of entries plans them in the background: per entry, not one line runs where health checks wait."""
    counts, repo = [], repos("memory")
    for number in (3_000, 6_000):
        repo.state(f"store: main\nnamespace: n\nkeys: {{{', '.join(f'k{index}: 1' for index in range(number))}}}\n")
        async with repo.open("run", clock=Clock()) as workspace:
            reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
            await reconciler.load()
            with counting() as lines:
                result = await reconciler.reconcile(PassRequest(Target("main", "n"), apply=False), lambda: False)
        assert result.pending == number
        counts.append(lines.count)
    assert counts[1] - counts[0] < 3_000
