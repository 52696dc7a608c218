"""Files are read in a thread: nobody waits for it, neither what else is to be done nor the end of the process."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kvsync.app import Workspace, open_workspace
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.daemon.ports import PassRequest
from kvsync.desired import DesiredState
from kvsync.model.entry import Target
from kvsync.planning.compare import key_matcher
from kvsync.reconcile import scope
from kvsync.util.background import in_background
from kvsync.util.redaction import Redactor
from tests.support.command import Repository
from tests.support.memory_repository import MemoryRepository


async def test_results_and_errors_come_back() -> None:
    """With the context of the caller."""
    variable = contextvars.ContextVar("variable", default="")
    variable.set("here")
    assert await in_background(lambda: (variable.get(), threading.current_thread() is threading.main_thread())) == (
        "here",
        False,
    )
    with pytest.raises(ZeroDivisionError):
        await in_background(lambda: 1 // 0)


async def test_a_thread_that_runs_out_of_memory_freezes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Thread.start` waits until the new thread has begun, which it never does without memory: the loop would stand still."""

    def stand_still(thread: threading.Thread) -> None:
        raise AssertionError(f"waits for {thread}")

    def lack_memory() -> None:
        raise MemoryError

    monkeypatch.setattr(threading.Thread, "start", stand_still)
    with pytest.raises(MemoryError):
        await in_background(lack_memory)


def test_a_process_ends_although_a_thread_works() -> None:
    """A file that is never read to its end must not keep the daemon from leaving."""
    program = (
        "import asyncio, threading\n"
        "from kvsync.util.background import in_background\n"
        "async def main():\n"
        "    task = asyncio.ensure_future(in_background(threading.Event().wait))\n"
        "    await asyncio.sleep(0.05)\n"
        "    task.cancel()\n"
        "asyncio.run(main())\n"
        "print('over')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("over\n", "")


async def test_the_loop_goes_on_while_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading that takes as long as it likes holds up nothing; two that ask at once are served one after the other."""
    repo = MemoryRepository(tmp_path, monkeypatch)
    repo.want({"a": 1})
    go_on, at_work = threading.Event(), []
    load = Workspace.load

    def slow(workspace: Workspace, *arguments: Any, **named: Any) -> DesiredState:
        at_work.append(threading.get_ident())
        assert go_on.wait(60)
        assert at_work == [threading.get_ident()], "two readings at once"
        at_work.clear()
        return load(workspace, *arguments, **named)

    monkeypatch.setattr(Workspace, "load", slow)
    async with repo.open("run") as workspace:
        reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
        readings = [asyncio.ensure_future(reconciler.load()) for _ in range(2)]
        async with asyncio.timeout(60):
            while not at_work:  # noqa: ASYNC110  # it is another thread that sets it
                await asyncio.sleep(0.001)
        go_on.set()  # nobody could, if the loop were held up
        first, second = await asyncio.gather(*readings)
        assert first.targets == second.targets != {}


async def test_files_are_read_by_the_newest_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the configuration changes meanwhile, what was read by the old one is not used."""
    repo = MemoryRepository(tmp_path, monkeypatch)
    repo.want({"a": 1})
    load, readers = Workspace.load, []
    async with repo.open("run") as workspace:
        reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
        loop, reloaded = asyncio.get_running_loop(), threading.Event()

        def reloading(workspace: Workspace, *arguments: Any, **named: Any) -> DesiredState:
            readers.append(workspace)
            if len(readers) == 1:
                asyncio.run_coroutine_threadsafe(reconciler.reload_config(), loop).result(60)
                reloaded.set()
            return load(workspace, *arguments, **named)

        monkeypatch.setattr(Workspace, "load", reloading)
        await reconciler.load()
        assert reloaded.is_set()
        assert (len(readers), readers[0] is not readers[1]) == (2, True)
        await reconciler.aclose()


async def test_patterns_of_authors_are_matched_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The patterns of `policy.ignore` that a state file adds cost its own target, never the loop; the plan is the same."""
    repo = MemoryRepository(tmp_path, monkeypatch)
    many = ", ".join(f"'{'*a' * 400}{number}'" for number in range(200))
    repo.want({f"key{number}": 1 for number in range(50)}, f"policy: {{ignore: [{many}, key1*]}}\n")
    used: list[bool] = []

    def matcher(globs: tuple[str, ...]) -> Callable[[str], bool]:
        used.append(threading.current_thread() is threading.main_thread())
        return key_matcher(globs)

    monkeypatch.setattr(scope, "key_matcher", matcher)
    plan = await repo.plan()
    assert used == [False]
    assert (len(plan.changes), plan.ignored) == (39, 11)
    repo.want({f"key{number}": 1 for number in range(50)}, "policy: {ignore: [key1*]}\n")
    assert (len((await repo.plan()).changes), used) == (39, [False, True])


async def longest_turn(root: Path, entries: int) -> int:
    """The most calls of functions that one turn of the loop makes while a pass creates so many entries in a SQLite store."""
    calls, turns = [0], [0]

    def count(_frame: object, event: str, _argument: object) -> None:
        calls[0] += event in ("call", "c_call")

    async def turn() -> None:
        while True:
            await asyncio.sleep(0)
            turns.append(calls[0])
            calls[0] = 0

    here = Repository(root)
    here.want("".join(f"  k{number}: v\n" for number in range(entries)))
    async with open_workspace(root / "kvsync.yaml", writing="run", environ={}, redactor=Redactor()) as workspace:
        reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
        await reconciler.load()
        turning = asyncio.create_task(turn())
        sys.setprofile(count)
        try:
            result = await reconciler.reconcile(PassRequest(Target("main", "web")), lambda: False)
        finally:
            sys.setprofile(None)
            turning.cancel()
    assert result.changes["applied"] == entries
    return max(turns)


@pytest.mark.system
async def test_applying_much_keeps_the_loop_no_longer_than_applying_some(tmp_path: Path) -> None:
    """Health checks, signals and the watchdog have their turn between two calls, however many entries are written."""
    some, much = [await longest_turn(tmp_path / str(entries), entries) for entries in (4_000, 12_000)]
    assert much <= 1.1 * some
